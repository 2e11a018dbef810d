"""Pictures whose pixels are class numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segue.data.sources.source import Unusable
from segue.masks import MAX_PIXELS

# Pillow names 16 bits "I;16" or "I;16B", in older versions "I". "P" has a palette, and `np.asarray` its
# indices.
_MODES = {8: ("L", "P"), 16: ("I;16", "I;16B", "I")}
LABEL_MAP_ADVICE = {
    "label map not found": ("a .png with the image's name", "unpack the archive again"),
    "label map cannot be read": ("a PNG file", "unpack the archive again"),
    "label map of another type": (
        "one channel of as many bits as the format says",
        "use the published PNG files: converted ones have lost their numbers",
    ),
    "label map size differs from image size": (
        "the image's height and width",
        "use the images of the same archive",
    ),
}


def read_label_map(path: Path, hw: tuple[int, int], *, bits: int) -> NDArray[Any]:
    """Read a label map, its numbers as they are in the file.

    Args:
        path: A PNG of one channel (8 bits may have a palette; its indices are the numbers).
        hw: `(height, width)` that it must have.
        bits: 8 or 16. Sixteen bits in a file of 8 means that somebody converted it: 65535 became 255, and all
            numbers above it were folded onto others.

    Returns:
        `[height, width]`, uint8 or uint16.

    Raises:
        Unusable: Missing, broken, of another type or size.
    """
    if not path.is_file():
        raise Unusable("label map not found", str(path))
    try:
        with Image.open(path) as picture:
            size, mode = (picture.height, picture.width), picture.mode
            if mode not in _MODES[bits]:
                raise Unusable(
                    "label map of another type", f"{path.name}: mode {mode}, not {bits} bits a pixel"
                )
            if size != hw or size[0] * size[1] > MAX_PIXELS:
                raise Unusable("label map size differs from image size", f"{path.name}: {size}, image {hw}")
            numbers = np.asarray(picture)
    except Unusable:
        raise
    except Exception as error:  # PIL raises nearly anything on damaged files
        raise Unusable("label map cannot be read", f"{path.name}: {type(error).__name__}: {error}") from None
    # Mode "I" comes as int32; its values are the 16 bits of the file.
    return numbers.astype(np.uint8 if bits == 8 else np.uint16)
