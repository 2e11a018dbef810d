"""Yield of every dataset reader: one image with its annotated objects and parts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from segue import masks
from segue.masks import RLE, Mask

RegionKind = Literal["object", "part"]


@dataclass(frozen=True)
class AnnotatedRegion:
    """One annotated object or part, its mask kept compressed until someone looks at it.

    Attributes:
        rid: Identifier, unique within the image.
        kind: `object` or `part`.
        name: Clean lower-case name; for a part without its object ("hair", not "person:hair").
        parent: `rid` of the object that a part belongs to; None for an object.
        rle: Compressed COCO run lengths, `{"size": [height, width], "counts": str}`.
        source_label: The name exactly as the source writes it.
    """

    rid: str
    kind: RegionKind
    name: str
    parent: str | None
    rle: RLE
    source_label: str

    @cached_property
    def mask(self) -> Mask:
        """The mask, bool `[height, width]`, decoded on first use."""
        return masks.decode(self.rle)

    @cached_property
    def area(self) -> int:
        """Number of pixels in the mask."""
        return masks.area(self.rle)


@dataclass(frozen=True)
class AnnotatedImage:
    """One image file and everything annotated in it.

    Attributes:
        image_id: Identifier in its source.
        path: The image file.
        height: Height in pixels.
        width: Width in pixels.
        regions: Objects and parts; a part's parent is always among them.
        unsure: Names ("car", "car:wheel") of which more may be visible than is annotated here; nothing may be
            said about their number or their absence.
        absent: Names that are known not to be there; None when everything that is not annotated is absent.
    """

    image_id: str
    path: Path
    height: int
    width: int
    regions: tuple[AnnotatedRegion, ...]
    unsure: frozenset[str] = frozenset()
    absent: frozenset[str] | None = None

    @property
    def hw(self) -> tuple[int, int]:
        """Size as `(height, width)`."""
        return (self.height, self.width)

    @property
    def objects(self) -> tuple[AnnotatedRegion, ...]:
        """The annotated objects, in file order."""
        return tuple(region for region in self.regions if region.kind == "object")

    def parts_of(self, rid: str) -> tuple[AnnotatedRegion, ...]:
        """The annotated parts of one object, in file order."""
        return tuple(region for region in self.regions if region.parent == rid)
