"""Questions that point reach the model in training: one grid for each region, and a reader that learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import segue
from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.own.pointing import PointingSource
from segue.data.own.sources import AnnotationSource
from segue.models.auto import ModelBundle
from segue.models.region_tokens import GRID, switch_region_tokens
from segue.training.engine.loop import save_final
from segue.training.finetune.defaults import DEFAULT_RECIPE
from segue.training.finetune.mixture import Mixture
from segue.training.finetune.objective import RecordsObjective
from segue.training.run import train
from tiny_model import fresh_model, picture


def annotated(folder: Path) -> list[AnnotatedImage]:
    """Three pictures; two show a mug, the third a lamp."""
    images = []
    for k, name in enumerate(("mug", "mug", "lamp")):
        path = folder / f"{k}.png"
        picture(shade=60 * (k + 1)).save(path)
        mask = np.zeros((40, 60), bool)
        mask[10:20, 15:30] = True
        region = AnnotatedRegion("1", "object", name, None, masks.encode(mask), name)
        images.append(AnnotatedImage(str(k), path, 40, 60, (region,)))
    return images


@pytest.fixture(scope="module")
def objective(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, RecordsObjective]:
    """A tiny model that reads regions, and the objective over conversations that all point."""
    folder = tmp_path_factory.mktemp("pointing")
    model, processor = fresh_model("prima_mini")
    switch_region_tokens(ModelBundle(model, processor, "tiny", None))
    mixture = Mixture([PointingSource(AnnotationSource(annotated(folder), folder), 1.0)])
    tokens = int(model.config.text_config.max_position_embeddings)
    return model, RecordsObjective(processor, mixture, max_tokens=tokens, batch_size=3, points=True)


def test_a_grid_for_each_placeholder(objective: tuple[Any, RecordsObjective]) -> None:
    model, made = objective
    batch = made.batch(0)
    places = int((batch["input_ids"] == model.config.region_token_id).sum())
    assert places > 0
    assert batch["region_masks"].shape == (places, GRID, GRID)
    assert len(batch["region_image_index"]) == places
    assert int(batch["region_image_index"].max()) < int(batch["num_images"].sum())
    assert (batch["region_masks"].flatten(1).amax(1) > 0.5).all()


def test_the_reader_gets_a_gradient(objective: tuple[Any, RecordsObjective]) -> None:
    model, made = objective
    model.zero_grad()
    loss, _ = made.loss(model, made.batch(1))
    loss.backward()
    for name, parameter in model.region_reader.named_parameters():
        assert float(parameter.grad.abs().sum()) > 0, name


def test_words_alone_for_models_without_regions(objective: tuple[Any, RecordsObjective]) -> None:
    _, made = objective
    plain = RecordsObjective(made.processor, made.mixture, max_tokens=made.max_tokens, batch_size=3)
    assert "region_masks" not in plain.batch(0)


def test_in_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, processor = fresh_model("prima_mini")
    save_final(tmp_path / "start", model, processor)
    records = [
        {"id": k + 1, "file_name": image.path.name, "height": 40, "width": 60}
        for k, image in enumerate(annotated(tmp_path))
    ]
    regions = [
        {"id": k + 1, "image_id": k + 1, "category_id": 1 + (k == 2), "iscrowd": 0, "bbox": [15, 10, 15, 10],
         "area": 150, "segmentation": [[15, 10, 30, 10, 30, 20, 15, 20]]}
        for k in range(3)
    ]  # fmt: skip
    content = {"images": records, "annotations": regions,
               "categories": [{"id": 1, "name": "mug"}, {"id": 2, "name": "lamp"}]}  # fmt: skip
    (tmp_path / "coco.json").write_text(json.dumps(content))
    overrides = [
        f"model.start={json.dumps(str(tmp_path / 'start'))}",
        f"data.own={json.dumps([{'path': str(tmp_path / 'coco.json'), 'images': str(tmp_path)}])}",
        "data.regions=0.9", "optimiser.max_steps=2", "save_every=2", "options.batch_size=2",
        "finetune.sheet_every=0", "finetune.family=prima-encoders-frozen",
    ]  # fmt: skip
    final = train(DEFAULT_RECIPE, tmp_path / "run", overrides, dry_run=False, resume=False)
    loaded = segue.load(final, device="cpu")
    assert loaded.model.region_reader is not None
    region = segue.inference.Region(image_index=0, box=(15, 10, 30, 20))
    answer = loaded.session([tmp_path / "0.png", tmp_path / "1.png"]).ask(
        "Find [this] in the other images.", regions=[region], max_new_tokens=8
    )
    assert len(answer.regions) == 1
    fresh = torch.nn.LayerNorm(loaded.model.region_width)
    assert not torch.equal(loaded.model.region_reader.norm.bias.cpu(), fresh.bias)
