"""The file of an annotated image: that it is there, can be read, and has the size its masks were made for."""

from __future__ import annotations

from pathlib import Path

from segue.data.formats.annotations import AnnotatedImage
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
    "image shows only names that are not fully annotated": ("at least one other name", ""),
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


def check_size(image: AnnotatedImage) -> None:
    """Compare the image file's header with the size that its masks were made for.

    Raises:
        Unusable: They differ: the masks would lie beside what they outline.
    """
    hw = photograph_hw(image.path)
    if hw != image.hw:
        raise Unusable("image size differs from its record", f"{image.path.name}: {hw}, record {image.hw}")
