"""Header of an image file: its size before and after EXIF orientation; no pixel is decoded."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from segue.errors import ImageError
from segue.file_kind import HEAD_BYTES, disguised
from segue.images import MAX_PIXELS, register_formats
from segue.masks import Mask

_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)


@dataclass(frozen=True)
class ImageHeader:
    """The header of an image file.

    Attributes:
        stored_hw: `(height, width)` as the pixels are stored.
        orientation: EXIF's number, 1 to 8; 1 where there is none.
        is_deep: Whether its greys have more than 8 bits.
    """

    stored_hw: tuple[int, int]
    orientation: int = 1
    is_deep: bool = False

    @property
    def hw(self) -> tuple[int, int]:
        """`(height, width)` as `segue.load_image` returns the picture, upright."""
        height, width = self.stored_hw
        return (width, height) if self.orientation in _SIDEWAYS else (height, width)


def read_header(source: str | Path | bytes) -> ImageHeader:
    """Read the header of an image.

    Args:
        source: A path, or the bytes of an image file.

    Raises:
        ImageError: There is no such file, it is no image, or it is too large.
    """
    where = "the given bytes" if isinstance(source, bytes) else str(source)
    register_formats()
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            width, height = image.size
            stated = image.getexif().get(_ORIENTATION, 1)
            deep = image.mode.startswith("I") or image.mode == "F"
    except MemoryError:
        raise
    except Exception as error:  # PIL raises nearly anything on damaged headers
        kind = disguised(_head(source))
        raise ImageError(
            "The size of the image cannot be read.",
            expected="an image file such as .jpg or .png",
            found=kind.name if kind is not None else f"{type(error).__name__}: {error}",
            where=where,
            fix=kind.fix if kind is not None else "check the file, or save it again",
        ) from None
    if not 0 < height * width <= MAX_PIXELS:
        raise ImageError(
            "The image has an unusable size.",
            expected=f"1 to {MAX_PIXELS:,} pixels",
            found=f"{width} x {height} (width x height)",
            where=where,
            fix="make the image smaller",
        )
    orientation = stated if isinstance(stated, int) and 1 <= stated <= 8 else 1
    return ImageHeader((height, width), orientation, deep)


def upright_hw(source: str | Path | bytes) -> tuple[int, int]:
    """Read `(height, width)` of an image as `segue.load_image` would return it; see `read_header`."""
    return read_header(source).hw


def turned_upright(mask: Mask, orientation: int) -> Mask:
    """A mask that was drawn on the stored pixels, as it lies on the upright picture.

    Args:
        mask: `[height, width]` of the stored picture.
        orientation: EXIF's number.
    """
    # EXIF's 6 is to be turned clockwise, and `np.rot90` turns the other way, hence -1; 5 and 7 are mirrored
    # too.
    turned = {
        2: lambda m: m[:, ::-1],
        3: lambda m: m[::-1, ::-1],
        4: lambda m: m[::-1],
        5: lambda m: m.T,
        6: lambda m: np.rot90(m, -1),
        7: lambda m: m.T[::-1, ::-1],
        8: lambda m: np.rot90(m),
    }
    return np.ascontiguousarray(turned[orientation](mask)) if orientation in turned else mask


def _head(source: str | Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:HEAD_BYTES]
    try:
        with Path(source).open("rb") as file:
            return file.read(HEAD_BYTES)
    except (OSError, ValueError):
        return b""
