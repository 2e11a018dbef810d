"""Left and right change places, and what has no name for its mirror image is not mirrored."""

from __future__ import annotations

from pathlib import Path

from segue.mini.look.photographs import Photograph, Region
from segue.mini.own.mirror import can_be_mirrored, mirrored, mirrored_name

RLE = {"size": [2, 2], "counts": "04"}


def photograph(*names: str) -> Photograph:
    regions = tuple(Region(name, RLE, True) for name in names)
    return Photograph(Path("a.png"), (2, 2), regions, None, "own", frozenset(names))


def test_sides_change_places() -> None:
    assert mirrored_name("car front left door") == "car front right door"
    assert mirrored_name("dog") == "dog"
    turned = mirrored(photograph("left hand", "dog"))
    assert turned.shown() == turned.known == {"right hand", "dog"}


def test_a_side_without_its_other_is_not_mirrored() -> None:
    assert can_be_mirrored(photograph("left hand"), ("left hand", "right hand"))
    assert not can_be_mirrored(photograph("left hand"), ("left hand", "dog"))
