"""The size of an image file from its header, as it is after EXIF orientation; no pixel is decoded."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from segue.errors import ImageError
from segue.images import MAX_PIXELS

_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)


def upright_hw(source: str | Path | bytes) -> tuple[int, int]:
    """Read `(height, width)` of an image as `segue.load_image` would return it.

    Args:
        source: A path, or the bytes of an image file.

    Raises:
        ImageError: There is no such file, it is no image, or it is too large.
    """
    where = "the given bytes" if isinstance(source, bytes) else str(source)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            width, height = image.size
            if image.getexif().get(_ORIENTATION) in _SIDEWAYS:
                width, height = height, width
    except MemoryError:
        raise
    except Exception as error:  # PIL raises nearly anything on damaged headers
        raise ImageError(
            "The size of the image cannot be read.",
            expected="an image file such as .jpg or .png",
            found=f"{type(error).__name__}: {error}",
            where=where,
            fix="check the file, or save it again",
        ) from None
    if not 0 < height * width <= MAX_PIXELS:
        raise ImageError(
            "The image has an unusable size.",
            expected=f"1 to {MAX_PIXELS:,} pixels",
            found=f"{width} x {height} (width x height)",
            where=where,
            fix="make the image smaller",
        )
    return height, width
