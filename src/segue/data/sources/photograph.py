"""The file of an annotated image: that it is there and can be read."""

from __future__ import annotations

from pathlib import Path

from segue.data.formats.image_header import upright_hw
from segue.data.sources.source import Unusable
from segue.errors import ImageError

SIZE_ADVICE = {
    "image size differs from its record": (
        "the height and width that the annotation file states",
        "use the photographs that were annotated, neither resized nor turned",
    ),
    "image cannot be read": ("an image file", "download it again"),
    "unusable image name": ("an id and a path of one line of UTF-8, without tags", "rename the image"),
    "image without usable name": ("a name that can stand in a sentence", "rename the categories"),
    "repeated image id": ("a unique `id`", "number the images again"),
}


def photograph_hw(path: Path) -> tuple[int, int]:
    """Height and width in pixels, from the header, as the photograph is looked at.

    Raises:
        Unusable: The file is missing or no image.
    """
    if not path.is_file():
        raise Unusable("image file not found", str(path))
    try:
        return upright_hw(path)
    except ImageError as error:
        raise Unusable("image cannot be read", error.found) from None
