"""What is exported: the images of an answer file, each with its masks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segue import masks
from segue.masks import RLE, Mask


@dataclass(frozen=True)
class PlacedMask:
    """One mask of an image.

    Attributes:
        phrase: As the answer says it.
        rle: At the image's original size; may be empty.
        score: 0..1; None where a format keeps none.
    """

    phrase: str
    rle: RLE
    score: float | None = None

    @property
    def mask(self) -> Mask:
        """Bool `[height, width]`."""
        return masks.decode(self.rle)


@dataclass(frozen=True)
class PicturedMasks:
    """One image with its masks, in the order of the text.

    Attributes:
        path: As it was given to the model.
        hw: Height and width in pixels.
    """

    path: str
    hw: tuple[int, int]
    masks: tuple[PlacedMask, ...] = ()


def masks_of(content: Mapping[str, Any]) -> list[PicturedMasks]:
    """The images of an answer's `to_json()`, or of its `answer.json`, with their masks."""
    found: list[list[PlacedMask]] = [[] for _ in content["images"]]
    for g in content["groundings"]:
        found[g["image_index"]].append(PlacedMask(g["phrase"], g["segmentation"], float(g["score"])))
    return [
        PicturedMasks(str(entry["path"]), (int(entry["height"]), int(entry["width"])), tuple(own))
        for entry, own in zip(content["images"], found, strict=True)
    ]


def categories(images: list[PicturedMasks]) -> dict[str, int]:
    """Each phrase and its number from 0, in the order of first mention, over all images together."""
    phrases = dict.fromkeys(mask.phrase for image in images for mask in image.masks)
    return {phrase: number for number, phrase in enumerate(phrases)}


def slug(phrase: str) -> str:
    """A phrase as part of a file name: letters and digits, at most 40 of them."""
    # Word characters of any alphabet stay; slashes, dots and quotes of a hostile phrase do not.
    return re.sub(r"\W+", "-", phrase, flags=re.UNICODE).strip("-")[:40] or "mask"
