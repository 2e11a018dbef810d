"""The embedded model's fields: all off by default, refused where they disagree, kept in a folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from segue.errors import ModelError
from segue.models.configuration_grounded import PrimaConfig
from segue.models.mini.configuration_mini import MiniConfig
from segue.models.mini.presets_mini import tiny_config
from segue.models.presets import preset


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("num_query_tokens", 4, ("num_query_tokens >= 5", "4")),
        ("identifier_token_ids", (), ("identifier_token_ids", "none")),
        ("slot_word_ids", ((1,),), ("11 lists", "1 lists")),
    ],
)
def test_wrong_fields_are_refused(field: str, value: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(ModelError) as caught:
        tiny_config(**{field: value})
    assert all(word in str(caught.value) for word in words)


def test_every_aid_is_off_by_default() -> None:
    own = {f.name for f in dataclasses.fields(MiniConfig)} - {f.name for f in dataclasses.fields(PrimaConfig)}
    assert len(own) > 15
    sizes = {"label_reader_size"}
    config = MiniConfig()
    assert not any(getattr(config, name) for name in own - sizes)


def test_round_trip_through_json(tmp_path: Path) -> None:
    config = tiny_config(slot_classes=("mug", "lamp"), label_reader_names=("lamp",))
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(again, MiniConfig)
    first, second = (json.loads(c.to_json_string(use_diff=False)) for c in (config, again))
    changed = {k for k in first if first[k] != second.get(k)}
    assert changed <= {"_name_or_path", "transformers_version"}
    assert list(again.slot_classes) == ["mug", "lamp"]
    assert again.label_reader_config.hidden_sizes == [4, 4, 8, 8]


def test_prima_s_folders_are_claimed_only_with_an_aid_in_use() -> None:
    old = {"model_type": "prima", "num_query_tokens": 32, "content_queries": 0, "slot_classes": []}
    off = old | {"label_reader_config": None, "label_reader_size": 320, "visual_token_rms": 0.0}
    assert not MiniConfig.claims(old)
    assert not MiniConfig.claims(off)
    assert not MiniConfig.claims(json.loads(preset("prima-7b").config().to_json_string()))
    assert MiniConfig.claims(off | {"content_queries": 4})
    assert MiniConfig.claims(old | {"label_reader_config": {"depths": [2]}})
    assert not MiniConfig.claims(off | {"content_queries": 4, "model_type": "lisa"})
