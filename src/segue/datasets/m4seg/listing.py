"""Everything annotated in a set of images, with the identifiers that questions and answers refer to.

An object of image X is `NAME XYY`, a part of it `NAME XYYZZ`. Two images, a cat (the largest) on a rug, and a
cat:

    Image 1 (640x480)
      cat 101 [12,40,200,310]
        cat's ear 10101 [20,44,60,90]
        cat's head 10102 [15,42,90,130]
      rug 102 [300,330,420,400]

    Image 2 (500x375)
      cat 201 [0,10,250,320]

Source: PRIMA sec. A.3 (identifiers, boxes in the prompt). Order, the limit of 99 and the box format are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from segue.datasets.m4seg.images import StoredImage, StoredRegion
from segue.datasets.m4seg.lexicon import Name

MOST = 99
"""Two digits number the objects of an image, and the parts of an object."""


@dataclass(frozen=True)
class ListedRegion:
    """One line of a listing.

    Attributes:
        code: "101" or "10102".
        name: "cat", "cat's head".
        image_index: 0-based.
        region: The annotation.
        parent: For a part, the code of its object.
    """

    code: str
    name: str
    image_index: int
    region: StoredRegion
    parent: str | None = None

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """Its box `(x1, y1, x2, y2)` in pixels, the origin at the top left."""
        x, y, width, height = self.region.bbox
        # Half-open: x2 and y2 lie one pixel beyond the last one of the mask.
        return x, y, x + width, y + height


@dataclass(frozen=True)
class Listing:
    """The listed objects and parts of a set of images.

    Attributes:
        images: In the order in which the text numbers them.
        entries: Image by image, each object followed by its parts.
        unlisted: Number of objects and parts beyond `MOST`, which cannot be referred to.
    """

    images: tuple[StoredImage, ...]
    entries: tuple[ListedRegion, ...]
    unlisted: int = 0

    @cached_property
    def by_code(self) -> dict[str, ListedRegion]:
        """The entries by their identifiers."""
        return {entry.code: entry for entry in self.entries}

    @cached_property
    def names(self) -> frozenset[str]:
        """Every name that occurs in some image of the set, listed or not."""
        return frozenset(image.full_name(region) for image in self.images for region in image.regions)

    @cached_property
    def heads(self) -> frozenset[str]:
        """The names and their ends: a "dining table" may be called "table"."""
        # "kitchen dining table" gives itself, "dining table" and "table".
        words = [name.split() for name in self.names]
        return frozenset(" ".join(name[n:]) for name in words for n in range(len(name)))

    def of_image(self, image_index: int) -> list[ListedRegion]:
        """The entries of one image."""
        return [entry for entry in self.entries if entry.image_index == image_index]

    def objects(self, image_index: int) -> list[ListedRegion]:
        """The listed objects of one image, the largest first."""
        return [entry for entry in self.of_image(image_index) if entry.parent is None]

    def parts(self, code: str) -> list[ListedRegion]:
        """The listed parts of an object."""
        return [entry for entry in self.entries if entry.parent == code]

    def name_of(self, entry: ListedRegion) -> Name:
        """An entry's name in owner and part."""
        if entry.parent is None:
            return Name(entry.name)
        return Name(self.by_code[entry.parent].name, entry.region.name)

    def text(self) -> str:
        """The listing as a prompt shows it; see the module's example."""
        blocks = []
        for index, image in enumerate(self.images):
            lines = [f"Image {index + 1} ({image.width}x{image.height})"]
            for entry in self.of_image(index):
                indent = "  " if entry.parent is None else "    "
                lines.append(f"{indent}{entry.name} {entry.code} [{','.join(map(str, entry.corners))}]")
            blocks.append("\n".join(lines))
        return "\n\n".join(blocks)


def list_images(images: Sequence[StoredImage]) -> Listing:
    """Number what a set of images shows.

    Objects are numbered by area, the largest first; the parts of an object by name, then area. Beyond
    `MOST` they go unlisted.
    """
    entries: list[ListedRegion] = []
    unlisted = 0
    for index, image in enumerate(images):
        objects = sorted(
            (region for region in image.regions if region.kind == "object"),
            # Identifiers must be the same on every machine, so equal areas are told apart by the annotation's
            # own id.
            key=lambda region: (-region.area, region.rid),
        )
        for place, thing in enumerate(objects, start=1):
            parts = sorted(
                (region for region in image.regions if region.parent == thing.rid),
                key=lambda region: (region.name, -region.area, region.rid),
            )
            if place > MOST:
                # Not cut off before the loop: what cannot be referred to is counted, and shows in the report.
                unlisted += 1 + len(parts)
                continue
            code = f"{index + 1}{place:02d}"
            entries.append(ListedRegion(code, thing.name, index, thing))
            unlisted += max(0, len(parts) - MOST)
            for number, part in enumerate(parts[:MOST], start=1):
                name = image.full_name(part)
                entries.append(ListedRegion(f"{code}{number:02d}", name, index, part, code))
    return Listing(tuple(images), tuple(entries), unlisted)
