"""Facts that may be stated about an annotated picture, and how its things are told apart in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.language import english
from segue.datasets.prist.offline.lexicon import COLOUR_NAMES
from segue.datasets.prist.outlines import LEAST_SHARE

CLEAR = 0.08
"""Centres this far apart, in shares of the picture's side, are plainly left and right of each other."""


@dataclass(frozen=True)
class Entity:
    """A thing, or a part of one.

    Attributes:
        index: Position in `PictureFacts.entities`.
        region: Where it comes from.
        noun: "mug"; for a part "handle".
        colour: "" when unknown.
        center: (x, y) of its box, in shares of width and height.
        area: Share of the picture.
        owner: Index of the object it is a part of; None for an object.
    """

    index: int
    region: AnnotatedRegion
    noun: str
    colour: str
    center: tuple[float, float]
    area: float
    owner: int | None = None

    @property
    def title(self) -> str:
        """Colour and noun: "red mug"."""
        return f"{self.colour} {self.noun}".strip()

    @property
    def is_plural(self) -> bool:
        """Whether it takes "are": scissors, wheels."""
        return english.is_plural(self.noun)


class PictureFacts:
    """The objects and parts of a picture that are large enough and whose names are fully annotated.

    Args:
        image: The annotations. Where the image lists what is absent (LVIS, PACO), nothing is said about all
            things of the picture, only about those of one name.
    """

    def __init__(self, image: AnnotatedImage) -> None:
        self.image = image
        self.entities: list[Entity] = []
        by_rid: dict[str, Entity] = {}
        # Objects before parts, whose owner must be there already; the sort is stable.
        for region in sorted(image.regions, key=lambda r: r.parent is not None):
            owner = None if region.parent is None else by_rid.get(region.parent)
            if region.parent is not None and owner is None:
                continue
            key = region.name if owner is None else f"{owner.region.name}:{region.name}"
            # An object that is left out takes its parts along: they do not find their owner.
            if region.area < LEAST_SHARE * image.height * image.width or key in image.unsure:
                continue
            entity = self._entity(region, owner)
            self.entities.append(entity)
            by_rid[region.rid] = entity

    def _entity(self, region: AnnotatedRegion, owner: Entity | None) -> Entity:
        # "red mug" is the colour red and the noun "mug"; "orange" alone is a fruit, and parts have no colour
        # of their own.
        first, _, rest = region.name.partition(" ")
        colour, noun = (
            (first, rest) if first in COLOUR_NAMES and rest and owner is None else ("", region.name)
        )
        rows, columns = (np.flatnonzero(region.mask.any(axis=axis)) for axis in (1, 0))
        height, width = self.image.hw
        # In shares of the sides, so that one `CLEAR` fits pictures of any shape; + 1 for the far edge of the
        # last pixel.
        center = (columns[0] + columns[-1] + 1) / 2 / width, (rows[0] + rows[-1] + 1) / 2 / height
        area = region.area / (height * width)
        index = None if owner is None else owner.index
        return Entity(
            len(self.entities), region, noun, colour, (float(center[0]), float(center[1])), area, index
        )

    @property
    def is_closed(self) -> bool:
        """Whether everything that is not annotated is not there."""
        return self.image.absent is None and not self.image.unsure

    @cached_property
    def objects(self) -> tuple[Entity, ...]:
        """The objects, from left to right."""
        found = [entity for entity in self.entities if entity.owner is None]
        return tuple(sorted(found, key=lambda e: (e.center, e.index)))

    def parts_of(self, entity: Entity) -> tuple[Entity, ...]:
        """The parts of an object, from left to right."""
        found = [part for part in self.entities if part.owner == entity.index]
        return tuple(sorted(found, key=lambda e: (e.center, e.index)))

    def same_noun(self, entity: Entity) -> tuple[Entity, ...]:
        """All objects (or, for a part, all parts of its object) with its noun, from left to right."""
        pool = self.objects if entity.owner is None else self.parts_of(self.entities[entity.owner])
        return tuple(other for other in pool if other.noun == entity.noun)

    @cached_property
    def phrases(self) -> dict[int, str]:
        """A phrase without article that names one entity and no other; missing where there is none."""
        found: dict[int, str] = {}
        for entity in self.objects:
            if phrase := self._object_phrase(entity):
                found[entity.index] = phrase
        for entity in self.entities:
            if entity.owner is not None and entity.owner in found and len(self.same_noun(entity)) == 1:
                found[entity.index] = f"{entity.noun} of the {found[entity.owner]}"
        # A name of the user's may read like a phrase of ours ("mug on the left"): then neither is used.
        names = Counter(found.values())
        return {index: phrase for index, phrase in found.items() if names[phrase] == 1}

    def _object_phrase(self, entity: Entity) -> str:
        same = self.same_noun(entity)
        if len(same) == 1:
            return entity.title
        alike = [other for other in same if other.title == entity.title]
        if entity.colour and len(alike) == 1:
            return entity.title
        gaps = [b.center[0] - a.center[0] for a, b in pairwise(alike)]
        place = alike.index(entity)
        # Things stand from left to right (`objects`), so neighbours in the list have the smallest gaps.
        if len(alike) == 2 and gaps[0] >= CLEAR:
            return f"{entity.title} on the {('left', 'right')[place]}"
        if place == 0 and gaps[0] >= CLEAR:
            return f"leftmost {entity.title}"
        if place == len(alike) - 1 and gaps[-1] >= CLEAR:
            return f"rightmost {entity.title}"
        return ""

    def the(self, entity: Entity) -> str:
        """The phrase with its article; only for entities that have one."""
        return f"the {self.phrases[entity.index]}"
