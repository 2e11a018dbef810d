"""Mask memory in training: the same tokens and features that a session gives, with the record's masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import segue
from segue import masks
from segue.data.own import read_own_data
from segue.errors import InputError
from segue.inference import LoadedModel
from segue.models.auto import ModelBundle
from segue.records import Conversation, ImageRef, Region, Span, Turn, grounded_markup, write_jsonl
from segue.training.engine.loop import save_final
from segue.training.finetune.defaults import DEFAULT_RECIPE
from segue.training.finetune.mixture import Mixture
from segue.training.finetune.objective import RecordsObjective
from segue.training.finetune.start import switch_options
from segue.training.run import train
from tiny_model import fresh_model, picture

PLACES = {"mug": (0, np.s_[10:20, 15:30]), "lid": (1, np.s_[4:12, 40:55]), "cup": (1, np.s_[20:36, 3:20])}


def region_mask(name: str) -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[PLACES[name][1]] = True
    return mask


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three turns about two pictures; the first answer has one mask, the second two."""
    folder = tmp_path_factory.mktemp("memory")
    for k in range(2):
        picture(shade=60 + 140 * k).save(folder / f"{k}.png")
    regions = [
        Region(rid=name, image_index=image, kind="object", name=name, mask=masks.encode(region_mask(name)))
        for name, (image, _) in PLACES.items()
    ]
    turns = []
    for asked, said in (("Which?", ["mug"]), ("And the others?", ["lid", "cup"]), ("All?", ["mug"])):
        spans = [Span(start=4 * k, end=4 * k + 3, rids=[name]) for k, name in enumerate(said)]
        turns += [Turn(role="user", text=asked), Turn(role="assistant", text=" ".join(said), spans=spans)]
    images = [ImageRef(image_id=f"t:{k}", path=f"{k}.png", height=40, width=60) for k in range(2)]
    record = Conversation(id="m/0", task="photos", split="train", images=images, regions=regions, turns=turns)
    write_jsonl(folder / "data.jsonl", [record])
    return folder


@pytest.fixture(scope="module")
def remembering() -> LoadedModel:
    model, processor = fresh_model("prima_mini")
    found = LoadedModel(model, processor, "tiny", None)
    switch_options(found, {"mask_memory": True})
    return found


def objective(bundle: ModelBundle, data: Path, memory: bool = True) -> RecordsObjective:
    mixture = Mixture([read_own_data(data / "data.jsonl", images=data).source])
    tokens = int(bundle.model.config.text_config.max_position_embeddings)
    return RecordsObjective(
        bundle.processor, mixture, max_tokens=tokens, batch_size=1, points=True, memory=memory
    )


def test_training_reads_what_a_session_reads(remembering: LoadedModel, data: Path) -> None:
    made = objective(remembering, data)
    batch, model = made.batch(0), remembering.model
    record = made.draw_bucket(0)[0][0].drawn.conversation
    session = remembering.session([data / "0.png", data / "1.png"])
    for place in (1, 3):
        markup, targets = grounded_markup(record, place)
        drawn = [region_mask(rids[0]) for _, rids in targets]
        session.add_turn(record.turns[place - 1].text, markup, seg_masks=drawn)
    asked = session._item(record.turns[4].text)
    # The whole conversation begins with the prompt of its last question, remembered masks included.
    length = len(asked["input_ids"])
    assert batch["input_ids"][0, :length].tolist() == asked["input_ids"]
    assert (batch["input_ids"] == model.config.region_token_id).sum() == 3
    assert batch["region_image_index"].tolist() == [0, 1, 1]
    features = model.encode_features(**{n: batch[n] for n in remembering.processor.streams if n in batch})
    pooled = model.region_features(features, {}, batch["region_masks"], batch["region_image_index"])[
        "region_features"
    ]
    torch.testing.assert_close(pooled, asked["region_features"])


def test_without_memory_nothing_is_fed_back(remembering: LoadedModel, data: Path) -> None:
    batch = objective(remembering, data, memory=False).batch(0)
    assert (batch["input_ids"] == remembering.model.config.region_token_id).sum() == 0
    assert len(batch["region_masks"]) == 0


def test_the_last_answer_depends_on_the_remembered_mask(remembering: LoadedModel, data: Path) -> None:
    model, made = remembering.model, objective(remembering, data)
    model.eval()
    batch = made.batch(0)
    batch.pop("notes")
    last = int((batch["labels"][0] != -100).nonzero()[-1])
    with torch.no_grad():
        before = model(**batch).logits[0]
        batch["region_masks"] = batch["region_masks"].flip(1)
        after = model(**batch).logits[0]
    first = int((batch["input_ids"][0] == model.config.region_token_id).nonzero()[0])
    assert torch.equal(before[:first], after[:first])
    assert float((before[last] - after[last]).abs().max()) > 0


def test_in_one_command(data: Path, tmp_path: Path) -> None:
    save_final(tmp_path / "start", *fresh_model("prima_mini"))

    def trained(seed: int, out: str) -> Any:
        overrides = [
            f"model.start={json.dumps(str(tmp_path / 'start'))}", "optimiser.max_steps=2", "save_every=2",
            f"data.own={json.dumps([{'path': str(data / 'data.jsonl'), 'images': str(data)}])}",
            "options.batch_size=2", "finetune.sheet_every=0", "model.overrides.mask_memory=true",
            f"model.seed={seed}", "finetune.cache_features=true", "finetune.family=prima-encoders-frozen",
            f"finetune.feature_folder={tmp_path / 'features'}",
        ]  # fmt: skip
        return segue.load(train(DEFAULT_RECIPE, tmp_path / out, overrides), device="cpu")

    first, again, other = trained(0, "first"), trained(0, "again"), trained(1, "other")
    config = first.model.config
    assert config.mask_memory
    assert config.region_tokens
    assert first.processor.tokenizer.convert_tokens_to_ids("<region>") == config.region_token_id
    readers = [dict(found.model.region_reader.named_parameters()) for found in (first, again, other)]
    assert torch.equal(readers[0]["layers.0.weight"], readers[1]["layers.0.weight"]), "one seed, one reader"
    assert not torch.equal(readers[0]["layers.0.weight"], readers[2]["layers.0.weight"])
    assert bool((readers[0]["norm.bias"] != 0).any()), "it has learned"
    # All three kept the features of two images in one place.
    assert len(list((tmp_path / "features").rglob("*.safetensors"))) == 2
    assert not (tmp_path / "first" / "features").exists()


def test_what_cannot_be_switched(remembering: LoadedModel) -> None:
    with pytest.raises(InputError, match="needs region tokens"):
        switch_options(remembering, {"region_tokens": False, "mask_memory": True})
    with pytest.raises(InputError, match="mask_memory"):
        switch_options(remembering, {"mask_memories": True})


def test_switched_off_again() -> None:
    bundle = ModelBundle(*fresh_model("prima_mini"), "tiny")
    switch_options(bundle, {"mask_memory": True})
    reader = bundle.model.region_reader
    switch_options(bundle, {"mask_memory": False})
    assert bundle.model.region_reader is reader, "regions stay"
    assert not bundle.model.config.mask_memory
    switch_options(bundle, {"mask_memory": True})
    assert bundle.model.region_reader is reader, "a model that has a reader keeps its weights"
    switch_options(bundle, {"region_tokens": False})
    assert bundle.model.region_reader is None
    assert not bundle.model.config.mask_memory, "without regions nothing can be remembered"
