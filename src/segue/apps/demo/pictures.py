"""Pictures of a visitor: loaded within limits, and kept as the page shows them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from segue.errors import InputError
from segue.images import load_image
from segue.inference.report import jpeg_bytes

MOST_PICTURES = 8
MOST_PIXELS = 50_000_000
"""Of one picture; known from its header, before it is decoded."""
MOST_PIXELS_TOGETHER = 100_000_000
"""Of all pictures of a visitor: 300 MB in memory."""
LONGEST_SIDE = 1000
"""Pixels of a picture, and of its masks, on the page."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that a visitor gave.

    Attributes:
        name: Of its file, without folders.
        image: RGB, at its own size.
        shown: JPEG file of it, as the page shows it.
        shown_hw: Height and width of that.
        key: Names it in addresses; cannot be guessed.
    """

    name: str
    image: Image.Image
    shown: bytes = field(repr=False)
    shown_hw: tuple[int, int]
    key: str = field(default_factory=lambda: secrets.token_urlsafe(18))


def picture_of(image: Image.Image, name: str) -> Picture:
    """A picture for the page, from one that is loaded."""
    scale = min(1.0, LONGEST_SIDE / max(image.size))
    hw = max(1, round(image.height * scale)), max(1, round(image.width * scale))
    small = image if scale == 1.0 else image.resize((hw[1], hw[0]), Image.Resampling.HAMMING)
    return Picture(name, image, jpeg_bytes(small), hw)


def load_pictures(paths: Sequence[str | Path], there: Sequence[Picture]) -> list[Picture]:
    """Load files that a visitor dropped.

    Args:
        paths: In the order in which they were dropped.
        there: What the visitor has already.

    Raises:
        InputError: Too many, or too many pixels in all; ImageError names a file that cannot be used. None of
            the files is taken then.
    """
    number = len(there) + len(paths)
    if number > MOST_PICTURES:
        raise InputError(
            "A conversation here is about one to eight pictures.",
            expected=f"at most {MOST_PICTURES}", found=str(number), where="the pictures",
            fix="start over, or drop fewer",
        )  # fmt: skip
    pixels = sum(picture.image.width * picture.image.height for picture in there)
    loaded = []
    for path in map(Path, paths):
        try:
            image = load_image(path.read_bytes(), most_pixels=MOST_PIXELS)
        except InputError as error:
            error.where = path.name  # not "the given bytes", nor the server's folder
            raise
        pixels += image.width * image.height
        if pixels > MOST_PIXELS_TOGETHER:
            raise InputError(
                "The pictures are too large together.",
                expected=f"at most {MOST_PIXELS_TOGETHER:,} pixels in all", found=f"{pixels:,}",
                where=path.name, fix="make them smaller, or drop fewer",
            )  # fmt: skip
        loaded.append(picture_of(image, path.name))
    return loaded
