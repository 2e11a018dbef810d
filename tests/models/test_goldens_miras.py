"""Parity of MIRAS's fusion with the official code: ConvNeXt maps, patch mining, projection.

The recordings lie in `miras_fusion` of the folder named by SEGUE_GOLDENS (by default goldens/A in the shared
data); everything here skips without them.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from goldens import GOLDENS, needs
from segue.models.conversion.templates import MIRAS
from segue.models.modeling_miras import MirasModel
from segue.models.presets_miras import tiny_miras_config

FOLDER = GOLDENS / "miras_fusion"
pytestmark = needs("miras_fusion/config.json")
# float32 against float64 of the official code itself differs by 2.6e-6.
FUSION, MAPS = 1e-5, 2e-5


@pytest.fixture(scope="module")
def recorded() -> dict[str, Tensor]:
    return load_file(FOLDER / "fusion.safetensors")


def official(case: str) -> MirasModel:
    """A model of the recording's sizes with the official weights, by the names that `segue convert` reads."""
    content: dict[str, Any] = json.loads((FOLDER / "config.json").read_text())
    convnext, grid = content["convnext"], content["cases"][case]["clip_grid"]
    small = tiny_miras_config()
    model = MirasModel(
        tiny_miras_config(
            vision_config=small.vision_config.to_dict()
            | {"hidden_size": content["mm_hidden_size"], "image_size": 14 * grid, "patch_size": 14},
            aux_vision_config={
                "hidden_sizes": convnext["dims"], "depths": convnext["depths"],
                "image_size": convnext["image"], "patch_size": 4, "drop_path_rate": 0.0,
                "layer_norm_eps": convnext["layer_norm_eps"],
            },
            aux_grid=content["aux_grid"][0],
            text_config=small.text_config.to_dict() | {"hidden_size": content["llm_hidden"]},
        )
    ).eval()  # fmt: skip
    state = model.state_dict()
    for name, tensor in load_file(FOLDER / "model.safetensors").items():
        targets = next(found for rule in MIRAS if (found := rule.apply(name)))
        for target in targets:
            assert state[target].shape == tensor.shape, name
            state[target].copy_(tensor)
    return model


def test_the_map_of_all_stages(recorded: dict[str, Tensor]) -> None:
    model = official("w2")
    side = model.config.vision_config.image_size
    with torch.inference_mode():
        found = model.encode_features(
            pixel_values=torch.zeros(1, 3, side, side), pixel_values_aux=recorded["aux_pixels"]
        )["aux_features"]
    torch.testing.assert_close(found[:, :, ::5, ::5], recorded["aux_map_stride5"], rtol=0, atol=MAPS)
    torch.testing.assert_close(found[:, :, 7], recorded["aux_map_row7"], rtol=0, atol=MAPS)
    torch.testing.assert_close(found.mean((2, 3)), recorded["aux_map_channel_mean"], rtol=0, atol=MAPS)


@pytest.mark.parametrize("case", ["w2", "w4", "w6"])
def test_patches_look_into_their_windows(case: str, recorded: dict[str, Tensor]) -> None:
    model, patches = official(case), recorded[f"{case}.clip_tokens"]
    side = model.config.vision_config.image_size
    with torch.inference_mode():
        cells = model.encode_features(
            pixel_values=torch.zeros(1, 3, side, side), pixel_values_aux=recorded["aux_pixels"]
        )["aux_features"]
        fused = model.fusion(patches, cells)
        seen = model.encode_images([1], vision_features=patches, aux_features=cells)
    torch.testing.assert_close(fused - patches, recorded[f"{case}.fusion_delta"], rtol=0, atol=FUSION)
    torch.testing.assert_close(fused, recorded[f"{case}.fused_tokens"], rtol=0, atol=FUSION)
    torch.testing.assert_close(seen.tokens, recorded[f"{case}.projected"], rtol=0, atol=FUSION)
