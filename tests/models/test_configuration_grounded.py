"""Configurations say what is wrong at construction, survive a round trip, and follow the paper by default."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

import segue.models  # noqa: F401  registers the families
from segue.errors import ModelError
from segue.models.configuration_grounded import PrimaConfig
from segue.models.presets_prima import tiny_prima_config


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("pixel_loss", "dice", ("'focal' or 'bce'", "'dice'")),
        ("mask_loss_resolution", "full", ("'original', 'decoder' or 'points'", "'full'")),
        ("visual_module", "perceiver", ("'fusion' or 'square'", "'perceiver'")),
    ],
)
def test_wrong_fields_are_refused(field: str, value: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(ModelError) as caught:
        tiny_prima_config(**{field: value})
    assert all(word in str(caught.value) for word in words)


def test_the_qformer_reads_what_the_vision_tower_writes() -> None:
    config = tiny_prima_config()
    assert config.qformer_config.encoder_hidden_size == config.vision_config.hidden_size


def test_defaults_are_the_paper_s() -> None:
    config = PrimaConfig()
    assert (config.visual_module, config.num_query_tokens, config.keep_text_outputs) == ("fusion", 32, True)
    assert (config.text_loss_weight, config.dice_loss_weight, config.pixel_loss_weight) == (1.0, 0.5, 2.0)
    assert (config.pixel_loss, config.mask_loss_resolution) == ("focal", "original")


def test_round_trip_through_json(tmp_path: Path) -> None:
    config = tiny_prima_config(visual_module="square", identifier_token_ids=(7, 8))
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(again, PrimaConfig)
    first, second = (json.loads(c.to_json_string(use_diff=False)) for c in (config, again))
    changed = {k for k in first if first[k] != second.get(k)}
    assert changed <= {"_name_or_path", "transformers_version"}
    assert list(again.identifier_token_ids) == [7, 8]
    assert again.sam_config.vision_config.window_size == 2
