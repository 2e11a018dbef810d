"""Kept features: the same losses, computed once, never those of another model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from segue.errors import InputError
from segue.models.encoder_features import encoder_hash
from segue.models.segmenter_sam import SamSegmenter
from segue.training.engine.trainer import set_trainable
from segue.training.finetune.feature_store import FeatureStore

Make = Callable[..., Any]


def losses(model: Any, objective: Any, steps: int = 3) -> list[dict[str, float]]:
    torch.manual_seed(0)
    found = []
    for step in range(steps):
        loss, readings = objective.loss(model, objective.batch(step))
        found.append({"loss": float(loss.detach()), **readings})
    return found


def test_losses_are_the_same(records_objective: Make, tmp_path: Path) -> None:
    without = losses(*records_objective())
    first = losses(*records_objective(features=tmp_path))
    second = losses(*records_objective(features=tmp_path))  # from the files
    for a, b, c in zip(without, first, second, strict=True):
        # The encoders see one image instead of a batch: float32 sums in another order, 1e-6 of each value.
        assert b == pytest.approx(a, rel=1e-4, abs=1e-5)
        assert c == b, "what was read is what was computed"


def test_encoders_run_once_per_image(
    records_objective: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, objective = records_objective(features=tmp_path)
    batch = objective.batch(0)
    seen = set(batch["notes"]["seen"])
    objective.loss(model, batch)
    files = list(objective.features.folder.glob("*.safetensors"))
    assert len(files) == len(seen)
    assert set(load_file(files[0])) == {
        "vision_features",
        "aux_features",
        "segmenter_features.image_embeddings",
    }
    monkeypatch.setattr(SamSegmenter, "encode", lambda *a, **k: pytest.fail("SAM ran again"))
    monkeypatch.setattr(model, "encode_features", lambda *a, **k: pytest.fail("a tower ran again"))
    again = objective.batch(0)
    assert not any("streams" in picture for picture in again["pictures"])
    assert "pixel_values" not in again
    objective.loss(model, again)


def test_a_damaged_file_is_written_again(records_objective: Make, tmp_path: Path) -> None:
    model, objective = records_objective(features=tmp_path)
    before = losses(model, objective, 1)
    for file in objective.features.folder.glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:100])
    assert losses(model, objective, 1) == before
    for file in objective.features.folder.glob("*.safetensors"):
        load_file(file)
    assert not list(objective.features.folder.glob("*unfinished*"))


def test_features_of_other_encoders_are_not_read(tiny: Make, tmp_path: Path) -> None:
    model, processor = tiny()
    set_trainable(model, ("language_model",))
    first = FeatureStore(model, processor, tmp_path).folder
    assert FeatureStore(model, processor, tmp_path).folder == first
    with torch.no_grad():
        model.language_model.lm_head.weight[0] += 1
    assert FeatureStore(model, processor, tmp_path).folder == first, "not an encoder"
    for name in ("vision_model", "aux_vision_model", "sam.vision_encoder"):
        before = encoder_hash(model, processor)
        with torch.no_grad():
            next(model.get_submodule(name).parameters()).view(-1)[0] += 1e-3
        assert encoder_hash(model, processor) != before, name
    before = encoder_hash(model, processor)
    processor.image_streams["pixel_values"]["size"] += 14
    assert encoder_hash(model, processor) != before


@pytest.mark.parametrize("part", ["vision_model", "aux_vision_model", "sam.vision_encoder"])
def test_encoders_that_train_are_refused(tiny: Make, tmp_path: Path, part: str) -> None:
    model, processor = tiny()
    set_trainable(model, ("language_model", part))
    with pytest.raises(InputError, match=rf"{part} trains"):
        FeatureStore(model, processor, tmp_path)
    assert not list(tmp_path.iterdir())


def test_workers_take_no_model_along(tiny: Make, tmp_path: Path) -> None:
    model, processor = tiny()
    set_trainable(model, ())
    assert FeatureStore(model, processor, tmp_path).__getstate__()["model"] is None
