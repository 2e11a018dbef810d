"""Cells of a stream's square and places of a picture are told apart, whatever the stream does to it."""

from __future__ import annotations

import pytest
import torch

from segue.errors import ModelError
from segue.models.dense_features import DenseMap, default_maps, onto_square, over_picture, patch_map
from segue.models.image_streams import ImageStream

HALF = (0.5, 0.5, 0.5)
HW = (40, 80)


def stream(fit: str) -> ImageStream:
    return ImageStream(64, fit, HALF, HALF)


def columns(size: int) -> torch.Tensor:
    """A map whose values are the columns of its cells, as fractions of the square."""
    return ((torch.arange(size) + 0.5) / size).expand(1, size, size)


@pytest.mark.parametrize(("fit", "shape"), [("pad", (8, 16)), ("letterbox", (8, 16)), ("stretch", (16, 16))])
def test_padding_is_cut_off(fit: str, shape: tuple[int, int]) -> None:
    found = over_picture(DenseMap(columns(16), "x"), stream(fit), HW)
    assert found.shape == (1, *shape)
    # The picture is as wide as the square, so its columns are the square's.
    assert torch.allclose(found[0, 0], columns(16)[0, 0], atol=1e-5)


def test_a_crop_saw_the_middle_alone() -> None:
    # 40 x 80 becomes 64 x 128, of which columns 32 to 96 are seen.
    found = over_picture(DenseMap(columns(16), "x"), stream("crop"), HW)[0]
    assert found.shape == (16, 32)
    assert not found[:, :8].any()
    assert not found[:, 24:].any()
    assert torch.allclose(found[0, 8:24], columns(16)[0, 0], atol=1e-5)


@pytest.mark.parametrize("fit", ["pad", "letterbox", "stretch"])
def test_onto_the_square_and_back(fit: str) -> None:
    values = torch.linspace(0.2, 1, 8)[:, None] + torch.linspace(0, 1, 16)[None]
    placed = onto_square(values, stream(fit), HW, 64)
    back = over_picture(DenseMap(placed[None], "x"), stream(fit), HW)[0]
    small = torch.nn.functional.adaptive_avg_pool2d(back[None], (8, 16))[0]
    assert torch.allclose(small, values, atol=0.06)
    assert int((placed != 0).any(1).sum()) == {"pad": 32, "letterbox": 32, "stretch": 64}[fit]
    first_row = int((placed != 0).any(1).int().argmax())
    assert first_row == {"pad": 0, "letterbox": 16, "stretch": 0}[fit]


def test_patches_without_class_and_register_tokens() -> None:
    patches = torch.arange(21)[:, None].float()  # class token, 4 registers, 4 x 4 patches
    assert patch_map(patches)[0].tolist() == torch.arange(5, 21).reshape(4, 4).tolist()


def test_the_second_encoder_is_taken_first() -> None:
    visual = {"vision_features": torch.zeros(1, 17, 3), "aux_features": torch.zeros(1, 21, 5)}
    drawable = {"image_embeddings": torch.zeros(1, 7, 2, 2)}
    assert default_maps(visual, drawable)[0].features.shape == (5, 4, 4)
    del visual["aux_features"]
    assert default_maps(visual, drawable)[0].features.shape == (3, 4, 4)
    assert default_maps({}, drawable)[0].stream == "pixel_values_sam"
    with pytest.raises(ModelError, match="dense features"):
        default_maps({"words": torch.zeros(1, 3)}, {})
