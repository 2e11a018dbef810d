"""Questions that point, drawn from a user's annotated images: this, there, and not there.

    image 1 with a marked cat, image 2 with two cats, image 3 without one
    "Find [this] in the other images."  ->  "Image 2 shows the cats. There is nothing like it in image 3."

What is asked is in `segue.data.pointing`; here images and marks are chosen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from segue.data.formats.annotations import AnnotatedRegion
from segue.data.own.sources import AnnotationSource, relative_path
from segue.data.own.things import Inventory, Thing
from segue.data.pointing.exchanges import (
    KIND,
    SAME_INSTANCE_SHARE,
    SAME_PART_SHARE,
    Mark,
    Pointing,
    add_follow_ups,
    can_be_marked,
    like_it,
)
from segue.data.pointing.retakes import (
    file_name,
    retake_of,
    retaken_image,
    write_retake,
)
from segue.errors import ImageError
from segue.records import Conversation

ABSENT_SHARE = 0.3
"""Share of other images that show nothing like it."""


class PointingSource:
    """A source of which a share of the conversations points.

    Args:
        source: Annotated images; what it draws otherwise, and all that it knows, stays as it is.
        share: 0 to 1, of the draws.
        pictures: Folder for photographs that are shown again (`segue.data.pointing.retakes`), made when
            needed; None shows none again.

    Source: paper silent; ours.
    """

    def __init__(self, source: AnnotationSource, share: float, pictures: Path | None = None) -> None:
        self.source, self.share, self.pictures = source, share, pictures
        self.root: Path = source.root

    def __getattr__(self, name: str) -> Any:
        # While it is being copied to a worker it has nothing yet.
        if name == "source":
            raise AttributeError(name)
        return getattr(self.source, name)

    def __len__(self) -> int:
        return len(self.source)

    def draw(self, rng: np.random.Generator) -> Conversation:
        """A conversation that points, or one of the source's own where none can be made."""
        found = pointed(self.source, rng, self.pictures) if rng.random() < self.share else None
        return self.source.draw(rng) if found is None else found

    def fixed(self, count: int, seed: int) -> list[Conversation]:
        """The source's own: validation asks in words."""
        return self.source.fixed(count, seed)

    def drawn(self, count: int, seed: int) -> list[Conversation]:
        """Draw i depends on `(seed, i)`: more of them begin with the same ones."""
        return [self.draw(np.random.default_rng((seed, i))) for i in range(count)]


def pointed(
    source: AnnotationSource, rng: np.random.Generator, pictures: Path | None = None
) -> Conversation | None:
    """A conversation about a marked thing; None where no image beside the one drawn is fit to be asked about.

    Args:
        source: Its images and what is known of them.
        rng: All that is drawn depends on it.
        pictures: See `PointingSource`; a picture that is shown again is written there.
    """
    home = int(rng.integers(len(source)))
    candidates = can_be_marked(source.catalogue.inventories[home])
    if not candidates:
        return None
    thing, region = candidates[int(rng.integers(len(candidates)))]
    choose = _Choice(source, rng, home, thing, region)
    found = None
    if pictures is not None and rng.random() < SAME_INSTANCE_SHARE:
        found = choose.same_instance(pictures)
    elif thing.owner and rng.random() < SAME_PART_SHARE:
        found = choose.same_part()
    return found or choose.same_kind()


class _Choice:
    """Which images a conversation about a mark shows, and in which order."""

    def __init__(
        self,
        source: AnnotationSource,
        rng: np.random.Generator,
        home: int,
        thing: Thing,
        region: AnnotatedRegion,
    ) -> None:
        self.source, self.rng, self.home, self.thing, self.region = source, rng, home, thing, region
        self.inventories = source.catalogue.inventories
        self.used = {home}

    def same_kind(self) -> Conversation | None:
        """The marked image with one or two others that show such a thing, or certainly do not."""
        others = []
        for _ in range(1 + int(self.rng.random() < 0.5)):
            pools: list[tuple[Sequence[int], bool]] = [
                (range(len(self.source)), False),
                (self.source.catalogue.positions[self.thing], True),
            ]
            # Where there is none of the one sort, one of the other.
            for pool, shows in pools if self.rng.random() < ABSENT_SHARE else reversed(pools):
                other = self._other(pool, shows=shows)
                if other is not None:
                    others.append(other)
                    break
        if not others:
            return None
        pointing, order = self._pointing([self.inventories[k] for k in others])
        pointing.ask_same_kind()
        return self._record(pointing, order)

    def same_part(self) -> Conversation | None:
        """The marked image with one that shows that part of another kind of object."""
        relatives = [
            thing
            for thing in self.source.catalogue.positions
            if thing.owner and thing.name == self.thing.name and thing != self.thing
        ]
        if not relatives:
            return None
        relative = relatives[int(self.rng.integers(len(relatives)))]
        other = self._other(self.source.catalogue.positions[relative], shows=None)
        if other is None:
            return None
        pointing, order = self._pointing([self.inventories[other]])
        pointing.ask_same_part(order.index(1), relative)
        return self._record(pointing, order)

    def same_instance(self, pictures: Path) -> Conversation | None:
        """The marked image, the same photograph seen again, and at times one without such a thing."""
        image = self.source.images[self.home]
        number = retake_of(image, self.region, self.rng)
        try:
            file = pictures / file_name(image, number, _content(image.path))
            write_retake(image, number, file)
        except ImageError:
            # Wherever the photograph itself is drawn, its fault is noted; here another conversation is.
            return None
        shown = [Inventory(retaken_image(image, number, file))]
        if self.rng.random() < 0.5:
            other = self._other(range(len(self.source)), shows=False)
            shown += [] if other is None else [self.inventories[other]]
        pointing, order = self._pointing(shown)
        pointing.ask_same_instance(order.index(1))
        return self._record(pointing, order)

    def _other(self, pool: Sequence[int], *, shows: bool | None) -> int | None:
        """An image of the pool that was not chosen before and shows the thing, does not, or (None) either."""
        for _ in range(20 if pool else 0):
            place = int(pool[int(self.rng.integers(len(pool)))])
            if place not in self.used and (
                shows is None or like_it(self.inventories[place], self.thing) is shows
            ):
                self.used.add(place)
                return place
        return None

    def _pointing(self, others: Sequence[Inventory]) -> tuple[Pointing, list[int]]:
        """The marked image is number 0, the others follow; also returned is the order they are shown in."""
        shown = [self.inventories[self.home], *others]
        # The marked image shall not always be the first.
        order = [int(k) for k in self.rng.permutation(len(shown))]
        mark = Mark(order.index(0), self.thing, self.region)
        return Pointing([shown[k] for k in order], mark, self.rng), order

    def _record(self, pointing: Pointing, order: Sequence[int]) -> Conversation:
        add_follow_ups(pointing, self.rng)
        images = [inventory.image for inventory in pointing.images]
        described = [exchange.described() for exchange in pointing.exchanges]
        return self.source.record(
            [(image, relative_path(image.path, self.source.root)) for image in images],
            [(exchange.question, exchange.answer) for exchange in pointing.exchanges],
            f"own/{self.source.split}/pointing/{self.rng.integers(2**48):012x}",
            {"kind": KIND, "level": "part" if self.thing.owner else "object", "turns": described},
        )


@lru_cache(maxsize=4096)
def _content(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ImageError(
            "A photograph cannot be read.",
            expected="a file that may be opened",
            found=error.strerror or str(error),
            where=str(path),
        ) from None
