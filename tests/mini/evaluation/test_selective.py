"""Pictures of several things: what is asked of them, and what right and wrong masks are worth."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segue.masks import encode
from segue.mini.evaluation.selective import Choice, measure_choices, neighbours, one_of_two
from segue.mini.look.photographs import Photograph, Region
from segue.models.mini.names import name_table


def region(name: str, left: int, right: int, *, single: bool = True) -> Region:
    mask = np.zeros((20, 20), bool)
    mask[:10, left:right] = True
    return Region(name, encode(mask), single)


def photograph(*regions: Region) -> Photograph:
    return Photograph(Path("a.jpg"), (20, 20), regions, None, "everyday")


TWO_DOGS = photograph(region("dog", 0, 5), region("dog", 10, 20), region("dog head", 0, 3))
DOG_AND_CAT = photograph(region("dog", 0, 5), region("cat", 4, 20))


def answering(draw: Any) -> Any:
    """A model that marks what `draw` makes of the only choice."""
    grounding = SimpleNamespace(image_index=0, mask=draw)
    answer = SimpleNamespace(groundings=[] if draw is None else [grounding])
    return SimpleNamespace(session=lambda paths: SimpleNamespace(ask=lambda question: answer))


def test_things_are_neighbours_of_things_and_parts_of_parts() -> None:
    asked = neighbours([TWO_DOGS, DOG_AND_CAT], name_table(), 10)
    assert sorted(c.question for c in asked) == ["Where is the cat?", "Where is the dog?"]
    dog = next(c for c in asked if "dog" in c.question)
    assert not (dog.others[0] & dog.wanted).any(), "what both cover is nobody's fault"


def test_left_and_right_are_asked_for_where_they_are_told_apart() -> None:
    asked = {c.question: c for c in one_of_two([TWO_DOGS, DOG_AND_CAT], 10)}
    assert set(asked) == {"Where is the left dog?", "Where is the right dog?"}
    assert asked["Where is the left dog?"].wanted[0].tolist() == [k < 5 for k in range(20)]
    beside = photograph(region("dog", 0, 10), region("dog", 1, 11))
    uncounted = photograph(region("dog", 0, 5, single=False), region("dog", 10, 20))
    assert one_of_two([beside, uncounted], 10) == []


def test_of_many_only_some_are_drawn_and_always_the_same() -> None:
    few = one_of_two([TWO_DOGS] * 5, 3)
    assert [c.question for c in few] == [c.question for c in one_of_two([TWO_DOGS] * 5, 3)]
    assert len(few) == 3


@pytest.mark.parametrize(
    ("drawn", "asked", "other", "everything"),
    [("wanted", 1.0, 0.0, 1 / 3), ("others", 0.0, 1.0, 2 / 3), ("both", 1 / 3, 2 / 3, 1.0), (None, 0, 0, 0)],
)
def test_figures(drawn: str | None, asked: float, other: float, everything: float) -> None:
    wanted, rest = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    wanted[:5], rest[10:] = True, True
    choice = Choice(TWO_DOGS, "Where is the left dog?", wanted, (rest,))
    masks = {"wanted": wanted, "others": rest, "both": wanted | rest, None: None}
    figures = measure_choices(answering(masks[drawn]), [choice])
    found = (figures["asked"], figures["other"], figures["everything"])
    assert found == pytest.approx((asked, other, everything), abs=1e-4)
