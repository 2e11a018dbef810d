"""The outlined things of a picture by unique names, for a model that shall end in one of them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass

import numpy as np

from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.language import english

LEAST_SHARE = 0.0008
"""Share of the picture that a thing must cover to be a target: about 7 x 7 of 256 x 256 pixels. Ours."""

MOST_LISTED = 40
"""The largest ones; a longer list makes models lose count. Ours."""


@dataclass(frozen=True)
class OutlinedThing:
    """A region under a unique label: "mug", "chair 2", "chair 1's leg"."""

    label: str
    region: AnnotatedRegion
    box: tuple[int, int, int, int]

    @property
    def is_made_up(self) -> bool:
        """Whether the label has a number that no person would say."""
        return any(character.isdigit() for character in self.label)


def outlined_things(image: AnnotatedImage) -> list[OutlinedThing]:
    """The largest regions under unique labels, objects from left to right."""
    kept = [r for r in image.regions if r.area >= LEAST_SHARE * image.height * image.width]
    kept = sorted(kept, key=lambda region: -region.area)[:MOST_LISTED]
    boxes = {region.rid: _box(region, image) for region in kept}
    # Objects first, since a part is called after the label of its object: "chair 2", then "chair 2's leg".
    labels: dict[str, str] = {}
    for group in _by_name([r for r in kept if r.parent is None]).values():
        _number(sorted(group, key=lambda r: boxes[r.rid]), group[0].name, labels)
    parts: dict[str, list[AnnotatedRegion]] = {}
    for region in kept:
        if region.parent is not None and region.parent in labels:
            name = f"{english.possessive(labels[region.parent])} {region.name}"
            parts.setdefault(name, []).append(region)
    for name, group in parts.items():
        _number(sorted(group, key=lambda r: boxes[r.rid]), name, labels)
    things = [OutlinedThing(labels[r.rid], r, boxes[r.rid]) for r in kept if r.rid in labels]
    # A user's own "chair 2" may meet a numbered one; a label that two things have names neither.
    taken = Counter(thing.label for thing in things)
    return sorted((t for t in things if taken[t.label] == 1), key=lambda t: (t.region.kind, t.box, t.label))


def listed(things: list[OutlinedThing]) -> str:
    """One line a thing: `chair 2 [10, 40, 35, 90]`."""
    return "\n".join(f"{thing.label} {list(thing.box)}" for thing in things)


def digest_of(image: AnnotatedImage) -> str:
    """Changes with any name or mask of the annotations."""
    content = [[r.rid, r.kind, r.name, r.parent, r.rle] for r in image.regions]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _by_name(regions: list[AnnotatedRegion]) -> dict[str, list[AnnotatedRegion]]:
    groups: dict[str, list[AnnotatedRegion]] = {}
    for region in regions:
        groups.setdefault(region.name, []).append(region)
    return groups


def _number(group: list[AnnotatedRegion], name: str, labels: dict[str, str]) -> None:
    for number, region in enumerate(group, start=1):
        labels[region.rid] = name if len(group) == 1 else f"{name} {number}"


def _box(region: AnnotatedRegion, image: AnnotatedImage) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in percent of width and height."""
    rows = np.flatnonzero(region.mask.any(axis=1))
    columns = np.flatnonzero(region.mask.any(axis=0))
    # + 1: the last column belongs to the box.
    left, right = columns[0] / image.width, (columns[-1] + 1) / image.width
    top, bottom = rows[0] / image.height, (rows[-1] + 1) / image.height
    return round(100 * left), round(100 * top), round(100 * right), round(100 * bottom)
