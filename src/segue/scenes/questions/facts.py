"""Facts for questions: the things of every image, and comparisons that hold with a clear margin."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from segue.scenes.kinds import KINDS, SceneObject

SIDE_MARGIN = 0.08
"""Smallest difference of two centres, as a fraction of the image, that reads as left of / above."""

AREA_RATIO = 1.35
"""Smallest ratio of two areas that reads as larger."""

NEAR_RATIO = 1.35
"""Smallest ratio of two distances that reads as nearer."""

VAGUE_PARTS = frozenset({"back", "base", "body", "centre", "face", "frame", "head", "neck", "top", "wall"})
"""Names of parts that many things could be said to have; asked for only together with a kind."""

MAY_SEEM: dict[str, tuple[str, ...]] = {
    "door": ("car",),
    "handle": ("scissors",),
    "handles": ("bucket", "hammer", "mug", "teapot", "umbrella"),
    "legs": ("bird",),
    "lid": ("bottle",),
    "pole": ("umbrella",),
    "roof": ("car",),
    "stem": ("lamp",),
    "windows": ("house",),
}
"""Part -> kinds without a part of this name in which a viewer may see one."""

SIDES: dict[str, tuple[int, int]] = {"left": (0, -1), "right": (0, 1), "above": (1, -1), "below": (1, 1)}
"""Side -> (axis of the centre, direction), as the viewer sees it."""


@dataclass(frozen=True, eq=False)
class Thing:
    """One object together with its place in the set."""

    image_index: int
    object_index: int
    obj: SceneObject

    @property
    def kind(self) -> str:
        return self.obj.kind

    @property
    def colour(self) -> str:
        return self.obj.colour

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.obj.parts)

    @property
    def x(self) -> float:
        return self.obj.center[0]

    @property
    def y(self) -> float:
        return self.obj.center[1]

    @property
    def area(self) -> float:
        return self.obj.area


class Facts:
    """All things of a set, image by image, from left to right."""

    def __init__(self, objects_per_image: Sequence[Sequence[SceneObject]]) -> None:
        self.images: list[list[Thing]] = [
            sorted((Thing(i, k, obj) for k, obj in enumerate(objects)), key=lambda t: (t.x, t.object_index))
            for i, objects in enumerate(objects_per_image)
        ]

    @property
    def num_images(self) -> int:
        return len(self.images)

    @cached_property
    def things(self) -> list[Thing]:
        """Every thing, in the order of the images."""
        return [thing for image in self.images for thing in image]

    @cached_property
    def kinds(self) -> list[str]:
        """Every kind that is there, in order of appearance."""
        return list(dict.fromkeys(thing.kind for thing in self.things))

    @cached_property
    def phrase_counts(self) -> list[Counter[str]]:
        """How many things of each image bear a phrase; more than one makes the phrase ambiguous."""
        return [Counter(thing.obj.phrase for thing in image) for image in self.images]

    def is_unique(self, thing: Thing) -> bool:
        """Tell whether the thing's phrase names no other thing of its image."""
        return self.phrase_counts[thing.image_index][thing.obj.phrase] == 1

    def of_kind(self, kind: str, image_index: int | None = None) -> list[Thing]:
        """Return the things of a kind, in one image or in all."""
        source = self.things if image_index is None else self.images[image_index]
        return [thing for thing in source if thing.kind == kind]

    def with_part(self, part: str, image_index: int | None = None) -> list[Thing]:
        """Return the things that visibly have a part of this name."""
        source = self.things if image_index is None else self.images[image_index]
        return [thing for thing in source if part in thing.parts]

    def parts_in(self, image_index: int) -> list[str]:
        """Return the names of the parts that can be seen in an image, each once."""
        return list(dict.fromkeys(part for thing in self.images[image_index] for part in thing.parts))

    def is_unclear(self, part: str, image_index: int | None = None) -> bool:
        """Tell whether "what has a {part}?" has no sure answer.

        It has none when the word says too little (`VAGUE_PARTS`), when something should have the part but
        does not show it, or when something there has what may be called so (`MAY_SEEM`).
        """
        if part in VAGUE_PARTS:
            return True
        source = self.things if image_index is None else self.images[image_index]
        seeming = MAY_SEEM.get(part, ())
        return any(t.kind in seeming or (part in KINDS[t.kind].parts and part not in t.parts) for t in source)


def extreme(things: Sequence[Thing], side: str) -> Thing | None:
    """Return the outermost thing on a side, or None when the next one is within ``SIDE_MARGIN``."""
    axis, direction = SIDES[side]
    return _clear_maximum(things, lambda t: direction * t.obj.center[axis], lambda a, b: a - b > SIDE_MARGIN)


def largest(things: Sequence[Thing]) -> Thing | None:
    """Return the thing that covers most of its image, or None when another comes within ``AREA_RATIO``."""
    return _clear_maximum(things, lambda t: t.area, lambda a, b: a > AREA_RATIO * b)


def smallest(things: Sequence[Thing]) -> Thing | None:
    """Return the thing that covers least of its image, or None when another comes within ``AREA_RATIO``."""
    # Negated areas: the smallest is the maximum, and the comparison turns the signs back.
    return _clear_maximum(things, lambda t: -t.area, lambda a, b: -b > AREA_RATIO * -a)


def nearest(anchor: Thing, others: Iterable[Thing]) -> Thing | None:
    """Return the thing whose centre is nearest to the anchor's, or None when that is not clear."""
    candidates = [t for t in others if t is not anchor]

    def distance(t: Thing) -> float:
        return math.dist(t.obj.center, anchor.obj.center)

    # A ratio and a gap: very near things differ by a large ratio that nobody sees.
    return _clear_maximum(
        candidates, lambda t: -distance(t), lambda a, b: -b > NEAR_RATIO * -a and a - b > SIDE_MARGIN
    )


def beside(anchor: Thing, things: Sequence[Thing], side: str) -> list[Thing] | None:
    """Return the things on one side of the anchor, left to right; None when one is on the border line."""
    axis, direction = SIDES[side]
    found = []
    for thing in things:
        if thing is anchor:
            continue
        gap = direction * (thing.obj.center[axis] - anchor.obj.center[axis])
        # One doubtful thing spoils the whole question, since its answer must be complete.
        if abs(gap) <= SIDE_MARGIN:
            return None
        if gap > 0:
            found.append(thing)
    return found


def _clear_maximum(
    things: Sequence[Thing], value: Callable[[Thing], float], clear: Callable[[float, float], bool]
) -> Thing | None:
    if not things:
        return None
    ranked = sorted(things, key=value, reverse=True)
    if len(ranked) > 1 and not clear(value(ranked[0]), value(ranked[1])):
        return None
    return ranked[0]
