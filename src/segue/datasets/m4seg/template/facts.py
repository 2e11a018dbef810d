"""Facts of a listing about its images, in a form that sentences can be made from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from segue.data.language import english
from segue.datasets.m4seg.absence import may_show
from segue.datasets.m4seg.lexicon import Name
from segue.datasets.m4seg.listing import MOST, ListedRegion, Listing

# Two things lie to the left and right of one another if their boxes share at most `_APART` of the narrower
# one's width, and their centres are `_ASIDE` of the image's width apart; likewise above and below.
_ASIDE, _APART = 0.12, 0.3  # shares of a side of the image


@dataclass(frozen=True)
class SetFacts:
    """The facts of one set.

    Attributes:
        listing: What is listed.
    """

    listing: Listing

    @property
    def images(self) -> range:
        """0-based."""
        return range(len(self.listing.images))

    @cached_property
    def _by_name(self) -> list[dict[str, list[ListedRegion]]]:
        found = []
        for index in self.images:
            names: dict[str, list[ListedRegion]] = defaultdict(list)
            for entry in self.listing.of_image(index):
                names[entry.name].append(entry)
            found.append(dict(names))
        return found

    def entries(self, name: str, index: int) -> list[ListedRegion]:
        """Return what is listed under a name in an image, the largest first."""
        found = self._by_name[index].get(name, [])
        return sorted(found, key=lambda entry: (-entry.region.area, entry.code))

    def names(self, index: int, *, objects: bool | None = None) -> list[str]:
        """Names listed in an image: of objects, of parts, or (None) of both."""
        return [
            name
            for name, entries in self._by_name[index].items()
            if objects is None or (entries[0].parent is None) == objects
        ]

    def shared(self, *, objects: bool | None = None) -> list[str]:
        """Names that are listed in every image."""
        others = [set(self.names(index, objects=objects)) for index in self.images]
        return sorted(set.intersection(*others))

    def may_count(self, name: str) -> bool:
        """Whether the number of things of a shared name is certain in every image."""
        for index, image in zip(self.images, self.listing.images, strict=True):
            entries = self.entries(name, index)
            label = self.name_of(entries[0])
            # A full list may have left some out.
            few = len(self.listing.objects(index)) < MOST
            if not (image.counted and few) or {label.key, label.owner} & image.unsure:
                return False
        return english.is_countable(name)

    def lacks(self, name: Name, index: int) -> bool:
        """Whether an image certainly shows nothing of a name."""
        return not may_show(self.listing.images[index], name)

    def name_of(self, entry: ListedRegion) -> Name:
        """Owner and part."""
        return self.listing.name_of(entry)

    def share(self, entries: Sequence[ListedRegion]) -> float:
        """Return the share of the image that the largest of some entries covers."""
        image = self.listing.images[entries[0].image_index]
        return max(entry.region.area for entry in entries) / (image.height * image.width)

    def centre(self, entry: ListedRegion) -> tuple[float, float]:
        """The middle of its box, as shares of the image's width and height."""
        image = self.listing.images[entry.image_index]
        left, top, right, bottom = entry.corners
        return (left + right) / 2 / image.width, (top + bottom) / 2 / image.height

    def place(self, entry: ListedRegion) -> str:
        """Where in the picture it is: "at the top left", "in the middle"."""
        x, y = self.centre(entry)
        across = "left" if x < 0.36 else "right" if x > 0.64 else ""
        down = "top" if y < 0.36 else "bottom" if y > 0.64 else ""
        if across and down:
            return f"at the {down} {across}"
        if across:
            return f"on the {across}"
        return f"near the {down}" if down else "in the middle"

    def relation(self, first: ListedRegion, second: ListedRegion) -> str | None:
        """How the first lies to the second in the picture; None where it is not plain to see."""
        image = self.listing.images[first.image_index]
        a, b = np.asarray(first.corners, float), np.asarray(second.corners, float)
        for axis, side, words in (
            (0, image.width, ("to the left of", "to the right of")),
            (1, image.height, ("above", "below")),
        ):
            # Negative where the boxes are apart along this axis.
            overlap = min(a[axis + 2], b[axis + 2]) - max(a[axis], b[axis])
            small = min(a[axis + 2] - a[axis], b[axis + 2] - b[axis])
            step = (a[axis] + a[axis + 2] - b[axis] - b[axis + 2]) / 2
            # Left and right first: what is apart in both ways is said to lie to the side.
            if overlap <= _APART * small and abs(step) >= _ASIDE * side:
                return words[0] if step < 0 else words[1]
        return None

    def parts(self, entry: ListedRegion) -> list[ListedRegion]:
        """Its listed parts, the largest first."""
        return sorted(self.listing.parts(entry.code), key=lambda part: (-part.region.area, part.code))
