"""Names that people give one image among several: "image 2", "the second photo"."""

from __future__ import annotations

from segue.data.language import english

IMAGE_NAMES: tuple[str, ...] = (
    "image {n}",
    "image {n}",
    "image {n}",
    "photo {n}",
    "picture {n}",
    "the {nth} image",
    "the {nth} photo",
)
"""Forms to draw from; what is most usual stands there several times."""


def image_name(form: str, image_index: int) -> str:
    """Name an image (0-based) in one of `IMAGE_NAMES`: ("the {nth} photo", 1) -> "the second photo"."""
    return form.format(n=image_index + 1, nth=english.ordinal(image_index + 1))
