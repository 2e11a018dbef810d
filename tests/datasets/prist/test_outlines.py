"""Outlined things: large enough, not too many, under labels that are unique."""

from pathlib import Path

import numpy as np

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.datasets.prist.outlines import outlined_things


def pictured(*sizes: int) -> AnnotatedImage:
    """100 x 100 pixels; a region of each size in pixels, named "thing 0" and so on."""
    regions = []
    for number, size in enumerate(sizes):
        mask = np.zeros((100, 100), bool)
        mask.reshape(-1)[:size] = True
        name = f"thing {number}"
        regions.append(AnnotatedRegion(str(number), "object", name, None, masks.encode(mask), name))
    return AnnotatedImage("a", Path("a.jpg"), 100, 100, tuple(regions))


def test_a_target_covers_eight_of_ten_thousand_pixels() -> None:
    assert [thing.region.rid for thing in outlined_things(pictured(8, 7, 9))] == ["0", "2"]


def test_the_forty_largest_are_listed() -> None:
    things = outlined_things(pictured(*range(100, 145)))
    assert sorted(int(thing.region.rid) for thing in things) == list(range(5, 45))
