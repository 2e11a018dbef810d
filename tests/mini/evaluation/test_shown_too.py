"""What is right by chance is split into what the shown pictures show and what they lack."""

from __future__ import annotations

from typing import Any

from segue.evaluation.samples import Sample
from segue.metrics.matching import GroundedMask
from segue.mini.evaluation.shown_too import count


def sample(turn: int, *targets: tuple[int, str], needs_images: bool = True) -> Sample:
    marks: Any = tuple(GroundedMask(k, phrase, None) for k, phrase in targets)
    return Sample("a", turn, "", "", 2, marks, (), (), needs_images=needs_images)


def line(*turns: list[tuple[int, str]]) -> dict[str, object]:
    said = [
        {"turn": n, "groundings": [{"image_index": k, "phrase": phrase} for k, phrase in turn]}
        for n, turn in enumerate(turns, start=1)
    ]
    return {"id": "a", "images": ["val/1.jpg", "val/2.jpg"], "turns": said}


SHOWN = {"1.jpg": frozenset({"cat", "cat head"}), "2.jpg": frozenset({"sheep"})}


def test_a_cat_that_another_picture_shows_is_no_mistake() -> None:
    samples = [sample(1, (0, "cat"), (1, "cat")), sample(2, (0, "cat's head"))]
    found = count([line([(0, "cat"), (1, "cat")], [(0, "cat's head"), (1, "dogs")])], samples, SHOWN)
    assert (found.expected, found.given, found.right, found.shown) == (3, 4, 3, 2)
    assert found.figures()["f1_not_shown"] == round(2 / 7, 4)


def test_answers_that_need_no_images_do_not_count() -> None:
    found = count([line([(0, "cat")])], [sample(1, (0, "cat"), needs_images=False)], SHOWN)
    assert found.figures() == {
        **dict.fromkeys(("expected", "given", "right", "shown"), 0),
        **{"f1": 0.0, "f1_not_shown": 0.0},
    }
