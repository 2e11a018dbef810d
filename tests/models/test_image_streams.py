"""What each fit makes of a picture, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

from segue.models.image_streams import ImageStream

WHITE = Image.new("RGB", (8, 4), "white")
"""Twice as wide as high."""


def rows_of(stream: ImageStream) -> list[float]:
    """The middle column of the first channel: 1 where the picture is, what it is padded with elsewhere."""
    pixels = stream(WHITE)
    assert pixels.shape == (3, 8, 8)
    assert pixels.dtype == torch.float32
    return [round(float(value), 2) for value in pixels[0, :, 4]]


@pytest.mark.parametrize(
    ("fit", "inside", "rows"),
    [
        ("stretch", (8, 8), [1] * 8),
        ("crop", (8, 16), [1] * 8),
        ("pad", (4, 8), [1] * 4 + [0] * 4),
        ("letterbox", (4, 8), [0] * 2 + [1] * 4 + [0] * 2),
    ],
)
def test_fits(fit: str, inside: tuple[int, int], rows: list[float]) -> None:
    stream = ImageStream(8, fit, (0.5,) * 3, (0.5,) * 3)
    assert stream.resized_hw((4, 8)) == inside
    assert rows_of(stream) == rows


def test_padding_is_the_mean_colour() -> None:
    named: dict[str, Any] = {"mean": (0.2,) * 3, "std": (0.5,) * 3}
    assert rows_of(ImageStream(8, "pad", **named)) == [1.6] * 4 + [0] * 4
    square = rows_of(ImageStream(8, "square", **named))
    assert square == [0] * 2 + [1.6] * 4 + [0] * 2


def test_a_strip_keeps_a_row() -> None:
    assert ImageStream(64, "pad", (0.5,) * 3, (0.5,) * 3).resized_hw((1, 5000)) == (1, 64)
