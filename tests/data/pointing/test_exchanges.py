"""Questions that point and their follow-ups, each with its answer by hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.own.things import Inventory, Thing
from segue.data.pointing.exchanges import (
    FOLLOW_UPS,
    LEAST_SHARE,
    Mark,
    Pointing,
    add_follow_ups,
    can_be_marked,
    like_it,
)
from segue.data.pointing.wordings import POINTING

Box = tuple[int, int, int, int]
SIDE = 100


def inventory(*things: tuple[str, str, Box, str | None], unsure: tuple[str, ...] = ()) -> Inventory:
    """Rid, name, box (left, top, width, height) and parent of each region, in an image of 100 x 100."""
    regions = []
    for rid, name, (left, top, width, height), parent in things:
        mask = np.zeros((SIDE, SIDE), bool)
        mask[top : top + height, left : left + width] = True
        regions.append(
            AnnotatedRegion(rid, "part" if parent else "object", name, parent, masks.encode(mask), name)
        )
    return Inventory(AnnotatedImage("a", Path("a.png"), SIDE, SIDE, tuple(regions), frozenset(unsure)))


ONE_CAT = inventory(("1", "cat", (10, 10, 30, 30), None), ("2", "head", (12, 12, 10, 10), "1"))
TWO_CATS = inventory(("1", "cat", (5, 40, 20, 20), None), ("2", "cat", (60, 40, 20, 20), None))
DOG = inventory(("1", "dog", (0, 0, 50, 50), None), ("2", "head", (30, 0, 20, 20), "1"))
CAT, HEAD = Thing("cat"), Thing("head", "cat")


def pointing(*images: Inventory, thing: Thing = CAT, home: int = 0, seed: int = 0) -> Pointing:
    region = images[home].regions[thing][0]
    return Pointing(images, Mark(home, thing, region), np.random.default_rng(seed))


def told(made: Pointing) -> list[tuple[str, list[tuple[str, int, list[str]]]]]:
    """Answers with their phrases, images (from 1) and regions."""
    return [
        (
            e.answer.text,
            [
                (e.answer.text[s.start : s.end], s.image_index + 1, [region.rid for region in s.payload])
                for s in e.answer.spans
            ],
        )
        for e in made.exchanges
    ]


def test_the_same_kind_there_and_not_there() -> None:
    made = pointing(ONE_CAT, TWO_CATS, DOG)
    made.ask_same_kind()
    said = "Image 2 shows the cats. There is nothing like it in image 3."
    assert told(made) == [(said, [("cats", 2, ["1", "2"])])]
    (mark,) = made.exchanges[0].question.spans
    assert (mark.image_index, [region.rid for region in mark.payload]) == (0, ["1"])
    assert made.exchanges[0].question.text[mark.start : mark.end].startswith("this")


def test_all_that_is_not_there_is_one_sentence() -> None:
    made = pointing(DOG, ONE_CAT, DOG, home=1)
    made.ask_same_kind()
    assert told(made) == [("There is nothing like it in images 1 and 3.", [])]


def test_where_more_may_be_there_than_is_outlined_some_are_shown() -> None:
    more = inventory(
        ("1", "cat", (5, 40, 20, 20), None), ("2", "cat", (60, 40, 20, 20), None), unsure=("cat",)
    )
    made = pointing(ONE_CAT, more)
    made.ask_same_kind()
    assert told(made)[0][0] == "Image 2 shows some cats."
    assert not made._ask_side(), "a third one may be further to the left"
    assert like_it(more, CAT) is True
    assert like_it(inventory(("1", "dog", (0, 0, 9, 9), None), unsure=("cat",)), CAT) is None
    assert like_it(DOG, CAT) is False


def test_the_same_part_of_another_object() -> None:
    made = pointing(ONE_CAT, DOG, thing=HEAD)
    made.ask_same_part(1, Thing("head", "dog"))
    assert told(made) == [("Here is the dog's head in image 2.", [("dog's head", 2, ["2"])])]
    assert "dog" in made.exchanges[0].question.text
    assert made.exchanges[0].described()["level"] == "part"


def test_the_very_thing_in_the_photograph_seen_again() -> None:
    made = pointing(TWO_CATS, DOG, TWO_CATS)
    made.ask_same_instance(2)
    said = "Here is the same cat in image 3. It is not in image 2."
    assert told(made) == [(said, [("cat", 3, ["1"])])]


def test_follow_ups_rest_on_the_masks_before() -> None:
    def asked(name: str, made: Pointing) -> tuple[str, tuple[str, list[tuple[str, int, list[str]]]]]:
        made.ask_same_kind()
        assert getattr(made, f"_ask_{name}")()
        assert made.exchanges[1].is_follow_up
        return made.exchanges[1].question.text, told(made)[1]

    question, answer = asked("again", pointing(ONE_CAT, TWO_CATS, seed=1))
    assert "image 1" in question
    assert answer == ("Here is the marked cat in image 1.", [("cat", 1, ["1"])])
    question, answer = asked("parts", pointing(TWO_CATS, ONE_CAT))
    assert "head" in question
    assert answer == ("Here is the cat's head in image 2.", [("cat's head", 2, ["2"])])
    question, answer = asked("larger", pointing(TWO_CATS, ONE_CAT))
    assert answer == ("The cat in image 2 takes up the largest share of its picture.", [("cat", 2, ["1"])])
    sides = set()
    for seed in range(9):
        question, answer = asked("side", pointing(ONE_CAT, TWO_CATS, seed=seed))
        side = "left" if answer[1][0][2] == ["1"] else "right"
        assert side in question
        assert answer[0] == f"Here is the cat on the {side} in image 2."
        sides.add(side)
    assert sides == {"left", "right"}


def test_what_is_not_plain_is_not_asked() -> None:
    close = inventory(("1", "cat", (5, 40, 20, 20), None), ("2", "cat", (10, 40, 20, 20), None))
    made = pointing(ONE_CAT, close)
    made.ask_same_kind()
    assert not made._ask_side(), "they overlap"
    assert not made._ask_parts(), "whose?"
    assert not made._ask_larger(), "which of the two?"
    alike = pointing(ONE_CAT, ONE_CAT)
    alike.ask_same_kind()
    assert not alike._ask_larger()


def test_no_follow_up_twice_and_no_more_than_two() -> None:
    counts = set()
    for seed in range(40):
        made = pointing(TWO_CATS, ONE_CAT, seed=seed)
        made.ask_same_kind()
        add_follow_ups(made, made.rng)
        names = [exchange.template for exchange in made.exchanges[1:]]
        assert len(set(names)) == len(names)
        assert set(names) <= set(FOLLOW_UPS)
        counts.add(len(names))
    assert counts == {0, 1, 2}


def test_small_things_are_not_pointed_at() -> None:
    side = int(np.sqrt(LEAST_SHARE * SIDE * SIDE))
    found = inventory(("1", "cat", (0, 0, side, side), None), ("2", "dog", (0, 0, side + 1, side + 1), None))
    assert [thing.name for thing, _ in can_be_marked(found)] == ["dog"]


@pytest.mark.parametrize("name", sorted(POINTING))
def test_every_wording_can_be_filled_in(name: str) -> None:
    fields = {"k": 2, "owner": "chair", "part": "leg", "side": "left"}
    for typed in POINTING[name]:
        assert "{" not in typed.format(**fields)
        marks = re.findall(r"\[[^\[\]]+\]", typed)
        assert len(marks) == (0 if name in FOLLOW_UPS else 1)
    assert len(set(POINTING[name])) == len(POINTING[name])
