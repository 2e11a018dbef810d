"""The embedded default is as small as it has to be."""

from __future__ import annotations

import torch

from segue.models.mini.modeling_mini import MiniModel
from segue.models.mini.presets_mini import mini_streams_for, segue_scenes_config, tiny_config

MILLION = 10**6


def test_mini_is_small() -> None:
    with torch.device("meta"):
        model = MiniModel(segue_scenes_config(slot_classes=tuple(f"name {k}" for k in range(34))))
    unique = sum(p.numel() for p in model.parameters())
    assert 5 * MILLION < unique <= 16 * MILLION
    assert unique * 2 <= 32 * 2**20, "in half precision it must fit the package"
    embeddings = model.language_model.get_input_embeddings().weight
    assert model.language_model.get_output_embeddings().weight is embeddings


def test_the_label_reader_has_a_stream_of_its_own() -> None:
    plain = mini_streams_for(tiny_config())
    labels = mini_streams_for(tiny_config(slot_classes=("mug",), label_reader_names=("mug",)))
    assert set(plain) == {"pixel_values", "pixel_values_aux", "pixel_values_sam"}
    assert {k: v for k, v in labels.items() if k != "pixel_values_labels"} == plain
    assert labels["pixel_values_labels"]["size"] == 320
