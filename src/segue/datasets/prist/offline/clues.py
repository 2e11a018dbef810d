"""Clues: properties that hold for some of the things in question and plainly not for the others.

A clue is offered only if every candidate is clearly on one side of it; a mug in the middle of the picture
makes "on the left" unusable. What a clue keeps is therefore not a matter of opinion.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from segue.datasets.prist.offline.facts import CLEAR, Entity, PictureFacts
from segue.datasets.prist.offline.lexicon import CATEGORIES, category_of, purposes_of

_SIZE_RATIO = 1.35
_NEAR_RATIO = 1.4


@dataclass(frozen=True)
class Clue:
    """One step of narrowing.

    Attributes:
        kind: For counting: "side", "colour", ...
        one: What is said of one thing, after "which": "is on the left side".
        many: The same of several: "are on the left side".
        kept: Indices of the candidates for which it holds.
        superlative: Holds for one thing among others ("is the largest"), so "of them" may follow.
    """

    kind: str
    one: str
    many: str
    kept: frozenset[int]
    superlative: bool = False


def clues_for(target: Entity, candidates: Sequence[Entity], facts: PictureFacts) -> list[Clue]:
    """All clues that the target fulfils and some other candidate does not.

    Args:
        target: One of the candidates.
        candidates: What is still in question; objects, or parts of one object.
        facts: Of their picture.
    """
    found: list[Clue] = []
    for maker in _MAKERS:
        for clue in maker(target, candidates, facts):
            # A clue that all candidates fulfil narrows nothing.
            if target.index in clue.kept and len(clue.kept) < len(candidates):
                found.append(clue)
    return found


def _indices(entities: Iterator[Entity] | Sequence[Entity]) -> frozenset[int]:
    return frozenset(entity.index for entity in entities)


def _sides(target: Entity, candidates: Sequence[Entity], facts: PictureFacts) -> Iterator[Clue]:
    """Halves of the picture; only if nobody stands in between."""
    if target.owner is not None:
        return
    for axis, (low, high) in enumerate((("left", "right"), ("upper", "lower"))):
        # One candidate in the middle spoils the clue for all: on which side it stands would be a matter of
        # opinion.
        if any(abs(c.center[axis] - 0.5) < CLEAR for c in candidates):
            continue
        is_low = target.center[axis] < 0.5
        kept = _indices([c for c in candidates if (c.center[axis] < 0.5) == is_low])
        where = (
            f"on the {low if is_low else high} side"
            if axis == 0
            else f"in the {low if is_low else high} half"
        )
        yield Clue("side", f"is {where} of the picture", f"are {where} of the picture", kept)


def _colours(target: Entity, candidates: Sequence[Entity], facts: PictureFacts) -> Iterator[Clue]:
    # One thing of unknown colour could be of any: then none is asked about.
    if not all(c.colour for c in candidates):
        return
    same = _indices([c for c in candidates if c.colour == target.colour])
    yield Clue("colour", f"is {target.colour}", f"are {target.colour}", same)
    for colour in sorted({c.colour for c in candidates} - {target.colour}):
        others = _indices([c for c in candidates if c.colour != colour])
        yield Clue("not colour", f"is not {colour}", f"are not {colour}", others)


def _categories(target: Entity, candidates: Sequence[Entity], facts: PictureFacts) -> Iterator[Clue]:
    if target.owner is not None or not all(category_of(c.noun) in CATEGORIES for c in candidates):
        return
    own = category_of(target.noun)
    one, many = CATEGORIES[own]
    yield Clue(
        "category",
        f"is {one}",
        f"are {many}",
        _indices([c for c in candidates if category_of(c.noun) == own]),
    )
    for category in sorted({category_of(c.noun) for c in candidates} - {own}):
        one, many = CATEGORIES[category]
        kept = _indices([c for c in candidates if category_of(c.noun) != category])
        yield Clue("not category", f"is not {one}", f"are not {many}", kept)


def _purposes(target: Entity, candidates: Sequence[Entity], facts: PictureFacts) -> Iterator[Clue]:
    if target.owner is not None or not all(purposes_of(c.noun) for c in candidates):
        return
    for purpose in purposes_of(target.noun):
        kept = _indices([c for c in candidates if purpose in purposes_of(c.noun)])
        text = f"could be used to {purpose}"
        yield Clue("purpose", text, text, kept)


def _nouns(target: Entity, candidates: Sequence[Entity], facts: PictureFacts) -> Iterator[Clue]:
    """The kind of thing, where there are several of it; of a single one it would be the answer itself."""
    from segue.data.language import english

    same = [c for c in candidates if c.noun == target.noun]
    if len(same) > 1 and target.owner is None and english.is_countable(target.noun):
        plural = english.plural(target.noun)
        yield Clue(
            "kind", f"is {english.article(target.noun)} {target.noun}", f"are {plural}", _indices(same)
        )


def _parts(target: Entity, candidates: Sequence[Entity], facts: PictureFacts) -> Iterator[Clue]:
    """A visible part; only among things all of which have their parts annotated."""
    if target.owner is not None:
        return
    parts = {c.index: {part.noun for part in facts.parts_of(c)} for c in candidates}
    if not all(parts.values()):
        return
    from segue.data.language import english

    for part in sorted(parts[target.index]):
        kept = frozenset(index for index, names in parts.items() if part in names)
        what = part if english.is_plural(part) or english.is_mass(part) else f"{english.article(part)} {part}"
        yield Clue("part", f"shows {what}", f"show {what}", kept)


def _sizes(target: Entity, candidates: Sequence[Entity], facts: PictureFacts) -> Iterator[Clue]:
    others = [c.area for c in candidates if c is not target]
    if not others:
        return
    # Against the next largest, as the viewer would: 1.35 times its area.
    if target.area >= _SIZE_RATIO * max(others):
        yield Clue("size", "looks largest", "look largest", frozenset({target.index}), superlative=True)
    if target.area * _SIZE_RATIO <= min(others):
        yield Clue("size", "looks smallest", "look smallest", frozenset({target.index}), superlative=True)


def _edges(target: Entity, candidates: Sequence[Entity], facts: PictureFacts) -> Iterator[Clue]:
    words = (("furthest to the left", "furthest to the right"), ("highest up", "lowest down"))
    for axis in (0, 1):
        others = [c.center[axis] for c in candidates if c is not target]
        if not others:
            continue
        if target.center[axis] <= min(others) - CLEAR:
            text = words[axis][0]
        elif target.center[axis] >= max(others) + CLEAR:
            text = words[axis][1]
        else:
            continue
        yield Clue("edge", f"is {text}", f"are {text}", frozenset({target.index}), superlative=True)


def _relations(target: Entity, candidates: Sequence[Entity], facts: PictureFacts) -> Iterator[Clue]:
    """Left, right, above or below of something else that can be named."""
    if target.owner is not None:
        return
    for anchor in facts.objects:
        if anchor.index == target.index or anchor.index not in facts.phrases:
            continue
        # The anchor itself may be a candidate; it lies on neither side of itself, so such a clue drops it.
        rest = [c for c in candidates if c.index != anchor.index]
        for axis, (low, high) in enumerate(
            (("to the left of", "to the right of"), ("higher up than", "lower down than"))
        ):
            if any(abs(c.center[axis] - anchor.center[axis]) < CLEAR for c in rest):
                continue
            is_low = target.center[axis] < anchor.center[axis]
            kept = _indices([c for c in rest if (c.center[axis] < anchor.center[axis]) == is_low])
            text = f"{low if is_low else high} {facts.the(anchor)}"
            yield Clue("relation", f"is {text}", f"are {text}", kept)
        if len(rest) > 1 and _distance(target, anchor) * _NEAR_RATIO <= min(
            _distance(c, anchor) for c in rest if c is not target
        ):
            text = f"closest to {facts.the(anchor)}"
            yield Clue("near", f"is {text}", f"are {text}", frozenset({target.index}), superlative=True)


def _distance(a: Entity, b: Entity) -> float:
    return math.dist(a.center, b.center)


_MAKERS: tuple[Callable[[Entity, Sequence[Entity], PictureFacts], Iterator[Clue]], ...] = (
    *(_sides, _colours, _categories, _purposes, _nouns, _parts, _sizes, _edges, _relations),
)
