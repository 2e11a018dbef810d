"""More names for the slots of a trained model: spelled, silent at the start, and refused where none fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from segue.errors import ModelError
from segue.models import auto
from segue.models.mini.build import build_from_tokenizer
from segue.models.mini.slot_vocabulary import add_slot_names, forget_labels, slot_name_ids, slot_word_ids

NAMES = {"slot_classes": ("mug", "teapot"), "slot_attributes": ("red",), "slot_relevance": True}


@pytest.fixture
def model(tiny_tokenizer: Any) -> tuple[Any, Any]:
    model, processor = build_from_tokenizer("tiny", tiny_tokenizer, **NAMES)
    torch.manual_seed(1)
    torch.nn.init.normal_(model.slot_heads.classes.weight)
    torch.nn.init.normal_(model.slot_heads.classes.bias)
    return model, processor


def test_names_are_spelled_by_the_tokenizer(tiny_tokenizer: Any) -> None:
    words = slot_word_ids(tiny_tokenizer, ["red", "teapot"])
    assert ["".join(tiny_tokenizer.convert_ids_to_tokens(ids)).strip("Ġ") for ids in words] == [
        "red",
        "teapot",
    ]
    for ids, name in zip(slot_name_ids(tiny_tokenizer, ["red", "zzyzx"]), ["red", "zzyzx"], strict=True):
        single = [f" {name}{end}" for end in ("", "s", "es")]
        single = [s for s in single if len(tiny_tokenizer(s, add_special_tokens=False)["input_ids"]) == 1]
        assert len(ids) == len(single)


def test_new_names_stand_before_nothing_and_attributes(model: tuple[Any, Any]) -> None:
    grounded, processor = model
    before = grounded.slot_heads.classes
    words = [list(ids) for ids in grounded.config.slot_word_ids]
    assert add_slot_names(grounded, processor, ["wheel", "mug", "door", "wheel"]) == ["wheel", "door"]
    config, after = grounded.config, grounded.slot_heads.classes
    assert list(config.slot_classes) == ["mug", "teapot", "wheel", "door"]
    assert config.slot_word_ids == [
        *words[:2],
        *slot_word_ids(processor.tokenizer, ["wheel", "door"]),
        words[2],
    ]
    assert len(config.slot_name_ids) == 5
    assert torch.equal(after.weight[[0, 1, 4]], before.weight)
    assert torch.equal(after.bias[[0, 1, 4]], before.bias)
    assert not after.weight[2:4].any()
    assert add_slot_names(grounded, processor, ["door"]) == []
    assert grounded.slot_heads.classes is after


def test_at_the_start_the_model_is_nearly_as_before(model: tuple[Any, Any]) -> None:
    grounded, processor = model
    queries = torch.randn(2, 5, grounded.config.qformer_config.hidden_size)
    before = grounded.spell_slots(queries, grounded.word_table())
    add_slot_names(grounded, processor, ["wheel", "door"])
    torch.testing.assert_close(
        grounded.spell_slots(queries, grounded.word_table()), before, rtol=0.1, atol=0.1
    )
    with torch.no_grad():
        grounded.slot_heads.classes.bias[2] += 20
    wheel = grounded.get_input_embeddings()(torch.tensor(grounded.config.slot_word_ids[2])).mean(0)
    red = grounded.get_input_embeddings()(torch.tensor(grounded.config.slot_word_ids[4])).mean(0)
    torch.testing.assert_close(
        grounded.spell_slots(queries, grounded.word_table()),
        (wheel + red).expand(2, 5, -1),
        rtol=1e-2,
        atol=1e-3,
    )


def test_a_model_with_more_names_is_saved_and_loaded(model: tuple[Any, Any], tmp_path: Path) -> None:
    grounded, processor = model
    add_slot_names(grounded, processor, ["wheel"])
    grounded.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = auto.load(str(tmp_path)).model
    assert list(loaded.config.slot_classes) == ["mug", "teapot", "wheel"]
    assert torch.equal(loaded.slot_heads.classes.weight, grounded.slot_heads.classes.weight)


def test_a_model_without_slots_is_refused(tiny_tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="no object slots"):
        add_slot_names(*build_from_tokenizer("tiny", tiny_tokenizer, num_object_slots=0), ["wheel"])


def test_labels_are_forgotten_with_their_pictures(tiny_tokenizer: Any, tmp_path: Path) -> None:
    labels = {"label_reader_names": ("teapot",), "label_reader_size": 32}
    model, processor = build_from_tokenizer("tiny", tiny_tokenizer, **NAMES, **labels)
    assert "pixel_values_labels" in processor.streams
    forget_labels(model, processor)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again = auto.load(tmp_path)
    assert again.model.label_reader is None
    assert set(again.processor.streams) == {"pixel_values", "pixel_values_aux", "pixel_values_sam"}
    assert not any(name.startswith("label_reader") for name in again.model.state_dict())
