"""The same photograph again: mirrored, cropped or in other colours, its masks changed with it pixel by pixel.

A retake is decided before any pixel is read, from the image's identifier alone, so that each image has the
same few on every machine; its picture becomes a file, for readers of records open files.

Source: paper silent; ours.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.errors import ImageError
from segue.files import atomic_path
from segue.images import load_image
from segue.masks import RLE

RETAKES = 4
"""Retakes of an image, so that a long training keeps four files of it and not thousands."""
LEAST_SIDE = 0.6
"""A crop keeps at least so much of each side."""
GAINS = (0.6, 1.4)
"""Each colour channel is multiplied by a number between these, as under another lamp."""
OFFSET = 25.0
"""Up to so many of 255 are added to all channels, or taken away."""
LEAST_LEFT = 16
"""Pixels; of what a crop leaves less, neither presence nor absence is stated."""
_MARK = "~"
_SIDED = frozenset({"left", "right"})


@dataclass(frozen=True)
class Retake:
    """One way to see a photograph again.

    The window is cut first, then the picture is mirrored, then its colours change.

    Attributes:
        window: `(top, left, height, width)` in pixels of the photograph; None keeps all of it.
        mirrored: Left and right change places.
        gains: What red, green and blue are multiplied by.
        offset: What is added to all three, of 255.
    """

    window: tuple[int, int, int, int] | None = None
    mirrored: bool = False
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: float = 0.0

    @property
    def recoloured(self) -> bool:
        """Whether colours change."""
        return self.gains != (1.0, 1.0, 1.0) or self.offset != 0

    def words(self) -> list[str]:
        """What is done, for notes: "mirrored", "cropped", "recoloured"."""
        done = {
            "mirrored": self.mirrored,
            "cropped": self.window is not None,
            "recoloured": self.recoloured,
        }
        return [word for word, is_done in done.items() if is_done]

    def placed(self, array: NDArray[Any]) -> NDArray[Any]:
        """Cut and mirror an array `[height, width, ...]`: no value changes, so masks stay exact."""
        if self.window is not None:
            top, left, height, width = self.window
            array = array[top : top + height, left : left + width]
        return np.ascontiguousarray(array[:, ::-1] if self.mirrored else array)

    def picture(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The photograph `[height, width, 3]` seen again."""
        seen: NDArray[np.uint8] = self.placed(pixels)
        return recolour(seen, self.gains, self.offset) if self.recoloured else seen

    def mask(self, rle: RLE) -> RLE:
        """What of a mask is in the picture; it may be empty."""
        return masks.encode(self.placed(masks.decode(rle)))

    def shows_whole(self, region: AnnotatedRegion) -> bool:
        """Whether nothing of a region is cut away."""
        return self.window is None or masks.area(self.mask(region.rle)) == region.area

    def to_json(self) -> dict[str, Any]:
        """The retake as plain values."""
        window = None if self.window is None else list(self.window)
        return {
            "window": window,
            "mirrored": self.mirrored,
            "gains": list(self.gains),
            "offset": self.offset,
        }


def recolour(pixels: NDArray[np.uint8], gains: Sequence[float], offset: float) -> NDArray[np.uint8]:
    """Multiply the channels of a picture `[..., 3]` and add to them; what leaves 0 to 255 is cut off."""
    changed = pixels.astype(np.float32) * np.asarray(gains, np.float32) + np.float32(offset)
    return np.clip(changed, 0, 255).astype(np.uint8)


def retakes_of(image: AnnotatedImage) -> tuple[Retake, ...]:
    """The retakes of an image, `RETAKES` in number and always the same; the first one cuts nothing away.

    An image with a name such as "left hand" is never mirrored: its name would become wrong.
    """
    seed = hashlib.sha256(f"retakes of {image.image_id}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(seed[:16], "big"))
    sided = any(_SIDED & set(region.name.lower().split()) for region in image.regions)
    made = []
    for number in range(RETAKES):
        height, width = (int(rng.integers(math.ceil(side * LEAST_SIDE), side + 1)) for side in image.hw)
        top, left = int(rng.integers(image.height - height + 1)), int(rng.integers(image.width - width + 1))
        red, green, blue = (round(float(gain), 3) for gain in rng.uniform(*GAINS, 3))
        offset = round(float(rng.uniform(-OFFSET, OFFSET)), 1)
        # Mirrored in other colours; cropped; cropped in other colours; all three.
        seen = Retake(window=None if number == 0 else (top, left, height, width))
        seen = replace(seen, mirrored=number in (0, 3) and not sided)
        made.append(seen if number == 1 else replace(seen, gains=(red, green, blue), offset=offset))
    return tuple(made)


def retake_of(image: AnnotatedImage, region: AnnotatedRegion, rng: np.random.Generator) -> int:
    """The number of a retake that shows all of a region, and of a part enough of its object."""
    parents = [parent for parent in image.regions if parent.rid == region.parent]
    whole = [
        number
        for number, retake in enumerate(retakes_of(image))
        if retake.shows_whole(region) and all(_is_kept(parent, retake) for parent in parents)
    ]
    return whole[int(rng.integers(len(whole)))]


def _is_kept(region: AnnotatedRegion, retake: Retake) -> bool:
    left = masks.area(retake.mask(region.rle))
    return left >= LEAST_LEFT or 0 < left == region.area


def retaken_id(image_id: str, number: int) -> str:
    """The identifier of a retake: "coco:17~2"."""
    return f"{image_id}{_MARK}{number}"


def retaken_image(image: AnnotatedImage, number: int, file: Path) -> AnnotatedImage:
    """The annotated image of a retake; `write_retake` makes its file.

    Regions that are cut away are left out. Where a few pixels of one are left, its name is `unsure`.

    Args:
        image: The photograph.
        number: Which of `retakes_of`.
        file: Of the picture.
    """
    retake = retakes_of(image)[number]
    kept: dict[str, AnnotatedRegion] = {}
    unsure = set(image.unsure)
    names = {region.rid: region.name for region in image.regions}
    # Objects first: a part whose object is out of the picture is left out with it.
    for region in sorted(image.regions, key=lambda region: region.parent is not None):
        seen = AnnotatedRegion(
            region.rid,
            region.kind,
            region.name,
            region.parent,
            retake.mask(region.rle),
            region.source_label,
        )
        with_owner = region.parent is None or region.parent in kept
        if with_owner and _is_kept(region, retake):
            kept[region.rid] = seen
        elif seen.area:
            unsure.add(region.name if region.parent is None else f"{names[region.parent]}:{region.name}")
    height, width = image.hw if retake.window is None else retake.window[2:]
    regions = tuple(kept[region.rid] for region in image.regions if region.rid in kept)
    return replace(
        image,
        image_id=retaken_id(image.image_id, number),
        path=file,
        height=height,
        width=width,
        regions=regions,
        unsure=frozenset(unsure),
    )


def file_name(image: AnnotatedImage, number: int, content: str) -> str:
    """The name of a retake's file: another photograph, or another retake, has another.

    Args:
        image: The photograph.
        number: Which of `retakes_of`.
        content: Hash of the photograph's file, so that no file outlives what it was drawn from.
    """
    told = f"{content} {retakes_of(image)[number].to_json()}"
    return f"{hashlib.sha256(told.encode()).hexdigest()[:20]}.jpg"


def write_retake(image: AnnotatedImage, number: int, file: Path) -> None:
    """Draw a retake, unless its file is there.

    Args:
        image: The photograph.
        number: Which of `retakes_of`.
        file: JPEG, of the same bytes wherever it is drawn; it appears complete or not at all.

    Raises:
        ImageError: The photograph cannot be opened, or has another size than its annotation.
    """
    if file.is_file():
        return
    opened = load_image(image.path)
    if (opened.height, opened.width) != image.hw:
        raise ImageError(
            "A photograph has another size than its annotation, so its masks would not fit.",
            expected=f"(height, width) {image.hw}",
            found=f"({opened.height}, {opened.width})",
            where=str(image.path),
            fix="restore the image that was annotated",
        )
    seen = retakes_of(image)[number].picture(np.asarray(opened))
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as unfinished:
        Image.fromarray(seen).save(unfinished, "JPEG", quality=95, subsampling=0)
