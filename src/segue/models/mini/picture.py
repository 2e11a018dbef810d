"""A picture as the seeing half takes it: inside a square at the top left, grey beside it.

Legend: S side of the square (SIDE), h w the picture inside it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 416
"""Pixels; 13, 26 and 52 cells at strides 32, 16 and 8. Larger pictures tell little more (presence AUC 0.885
at 384, 0.891 at 640) and take as much longer as they are larger."""

PADDING = 127
"""What lies beside the picture: the trunk's mean, so that it reads as nothing."""


STREAM = {
    "size": SIDE,
    "fit": "pad",
    "mean": (PADDING / 255,) * 3,
    "std": (128 / 255,) * 3,
}
"""How a processor gives pictures to the trunk: the padding's grey is its zero."""


def inside_square(height: int, width: int, side: int = SIDE) -> tuple[int, int]:
    """Height and width of a picture whose longer side fills the square."""
    scale = side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def square_picture(image: Image.Image, side: int = SIDE) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """An RGB image to `[S, S, 3]` and its height and width inside."""
    h, w = inside_square(image.height, image.width, side)
    square = np.full((side, side, 3), PADDING, np.uint8)
    square[:h, :w] = np.asarray(image.resize((w, h), Image.Resampling.BICUBIC))
    return square, (h, w)
