"""Things that an image shows, by name: objects ("car") and parts of objects ("car's wheel")."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from pycocotools import mask as coco_mask

from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.language import english


@dataclass(frozen=True, order=True)
class Thing:
    """A kind of object, or a kind of part of a kind of object.

    Attributes:
        name: "car"; for a part without its object ("wheel").
        owner: For a part, the name of the object it belongs to; "" for an object.
    """

    name: str
    owner: str = ""

    @property
    def key(self) -> str:
        """The name as files write it: "car", "car:wheel"."""
        return f"{self.owner}:{self.name}" if self.owner else self.name

    def phrase(self, count: int = 1, owners: int = 1) -> str:
        """Name it in its number: "car", "cars"; "car's wheel", "car's wheels", "cars' wheels".

        Args:
            count: How many of it.
            owners: For a part, of how many objects.
        """
        name = self.name if count == 1 else english.plural(self.name)
        if not self.owner:
            return name
        return f"{english.possessive(self.owner if owners == 1 else english.plural(self.owner))} {name}"

    def of(self, count: int = 1, owners: int = 1) -> str:
        """The other way to say it: "wheel of the car"; the same as `phrase` for an object."""
        if not self.owner:
            return self.phrase(count)
        name = self.name if count == 1 else english.plural(self.name)
        return f"{name} of the {self.owner if owners == 1 else english.plural(self.owner)}"

    def indefinite(self) -> str:
        """Any one of it: "a car", "an apple", "hair", "a car's wheel"."""
        leading = self.owner or self.name
        return (
            f"{english.article(leading)} {self.phrase()}" if english.is_countable(leading) else self.phrase()
        )

    def takes_are(self, count: int) -> bool:
        """Whether the verb is "are"."""
        return english.is_plural(self.name) or (count > 1 and english.is_countable(self.name))


class Inventory:
    """The things of one annotated image, and what may be said not to be in it.

    The regions of a thing stand from left to right, so that answers which give each a mask of its own always
    give them in one order, and a model can learn which comes first.

    Args:
        image: The image; of names in its `unsure`, what is outlined is shown, and nothing said of the rest.
    """

    def __init__(self, image: AnnotatedImage) -> None:
        self.image = image
        by_rid = {region.rid: region for region in image.regions}
        things: dict[Thing, list[AnnotatedRegion]] = defaultdict(list)
        for region in image.regions:
            owner = by_rid[region.parent].name if region.parent is not None else ""
            things[Thing(region.name, owner)].append(region)
        self.regions = {thing: sorted(found, key=_place) for thing, found in things.items()}

    @cached_property
    def things(self) -> tuple[Thing, ...]:
        """Everything that is named, in the order of the file."""
        return tuple(self.regions)

    @cached_property
    def objects(self) -> tuple[Thing, ...]:
        """The objects, the largest first."""
        objects = [thing for thing in self.regions if not thing.owner]
        return tuple(sorted(objects, key=lambda thing: -max(r.area for r in self.regions[thing])))

    def parts_of(self, owner: Thing) -> tuple[Thing, ...]:
        """The kinds of parts of an object, the largest first."""
        parts = [thing for thing in self.regions if thing.owner and thing.owner == owner.name]
        return tuple(sorted(parts, key=lambda thing: -max(r.area for r in self.regions[thing])))

    def count(self, thing: Thing) -> int:
        """How many regions bear this name."""
        return len(self.regions.get(thing, ()))

    def owners(self, thing: Thing) -> int:
        """Number of objects that these parts are of; 1 for objects."""
        return len({region.parent for region in self.regions.get(thing, ())}) or 1

    def has(self, thing: Thing) -> bool:
        """Whether it is annotated here."""
        return thing in self.regions

    def is_complete(self, thing: Thing) -> bool:
        """Whether all of it is outlined, so that its number may be stated."""
        # Where more cars may be there than are outlined, more of their wheels may be as well.
        return not self.image.unsure & {thing.key, thing.owner}

    def knows(self, thing: Thing) -> bool:
        """Whether all may be said of it: that it is there or not, and how many.

        A file that lists what is absent (LVIS, PACO) is believed only as far as that list goes; in others,
        what is not annotated is not there.
        """
        if not self.is_complete(thing):
            return False
        if self.has(thing) or self.image.absent is None:
            return True
        return thing.key in self.image.absent or (bool(thing.owner) and thing.owner in self.image.absent)

    def share(self, thing: Thing) -> float:
        """Share of the image that the regions of this name take up together."""
        return sum(region.area for region in self.regions[thing]) / (self.image.height * self.image.width)


def _place(region: AnnotatedRegion) -> tuple[float, float]:
    """Centre of a region's box, left to right, then top to bottom."""
    left, top, width, height = coco_mask.toBbox(region.rle)
    return float(left + width / 2), float(top + height / 2)


class Catalogue:
    """The inventories of a data set, and where each thing is found.

    Args:
        images: The annotated images.
    """

    def __init__(self, images: Sequence[AnnotatedImage]) -> None:
        self.inventories = [Inventory(image) for image in images]
        self.positions: dict[Thing, list[int]] = defaultdict(list)
        self.counted: set[Thing] = set()
        """Objects that occur several times in some image. Of others nobody can tell whether the file
        outlines instances one by one, so their number is never asked."""
        for position, inventory in enumerate(self.inventories):
            for thing in inventory.things:
                self.positions[thing].append(position)
                several = inventory.is_complete(thing) and inventory.count(thing) > 1
                if not thing.owner and several and english.is_countable(thing.name):
                    self.counted.add(thing)

    def __len__(self) -> int:
        return len(self.inventories)

    @cached_property
    def object_names(self) -> int:
        """How many kinds of objects there are."""
        return sum(not thing.owner for thing in self.positions)
