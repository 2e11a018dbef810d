"""The choice between two photographs: pairs differ in the label, and only the right one alone counts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segue.errors import InputError
from segue.mini.evaluation.which_photo import LABELS, QUESTION, draw_pairs, which_photo
from segue.mini.photos.facts import LabelFacts, PhotoFacts, PhotoRecord


def record(number: int, *labels: str, uncertain: tuple[str, ...] = ()) -> PhotoRecord:
    facts = {label: LabelFacts(0.1, "red", 100.0) for label in labels}
    return PhotoRecord(
        f"t:{number}", Path(f"{number}.jpg"), (10, 10), {}, PhotoFacts(facts, frozenset(uncertain))
    )


RECORDS = [
    record(0, "coat", "glasses"),
    record(1, "trousers", "dress"),
    record(2, "dress", uncertain=("coat", "trousers", "glasses")),
]


class Scripted:
    """A model that shows what `answers` tells for the pair and the question that it gets."""

    def __init__(self, answers: Any) -> None:
        self.answers = answers

    def session(self, paths: list[Path]) -> Any:
        return SimpleNamespace(ask=lambda question: self.reply(paths, question))

    def reply(self, paths: list[Path], question: str) -> Any:
        label = next(name for name in LABELS if name in question)
        places = self.answers([int(p.stem) for p in paths], label)
        return SimpleNamespace(groundings=[SimpleNamespace(image_index=k, phrase=label) for k in places])


def having(paths: list[int], label: str) -> list[int]:
    return [k for k, number in enumerate(paths) if RECORDS[number].facts.has(label)]


def test_pairs_differ_in_the_label_and_the_place_varies() -> None:
    pairs = draw_pairs(RECORDS, "coat", 40, np.random.default_rng(0))
    assert {place for _, place in pairs} == {0, 1}
    for pair, place in pairs:
        assert pair[place].facts.has("coat")
        assert pair[1 - place].facts.lacks("coat"), "an uncertain photograph proves nothing"


@pytest.mark.parametrize(
    ("answers", "score"),
    [
        (having, 1.0),
        (lambda paths, label: [1 - k for k in having(paths, label)], 0.0),
        (lambda paths, label: [0, 1], 0.0),
        (lambda paths, label: [], 0.0),
    ],
    ids=["right", "wrong", "both", "none"],
)
def test_only_the_right_photograph_alone_counts(answers: Any, score: float) -> None:
    scores = which_photo(Scripted(answers), RECORDS, count=8)  # type: ignore[arg-type]
    assert scores == {"count": 8, "question": QUESTION} | dict.fromkeys(LABELS, score)


def test_the_question_may_be_another() -> None:
    asked = []

    class Listening(Scripted):
        def reply(self, paths: list[Path], question: str) -> Any:
            asked.append(question)
            return super().reply(paths, question)

    which_photo(Listening(having), RECORDS, count=1, question="Who wears {x}?")  # type: ignore[arg-type]
    assert asked == ["Who wears trousers?", "Who wears a coat?", "Who wears a dress?", "Who wears glasses?"]


def test_always_the_first_is_chance() -> None:
    scores = which_photo(Scripted(lambda paths, label: [0]), RECORDS, count=200)  # type: ignore[arg-type]
    assert all(0.35 < scores[label] < 0.65 for label in LABELS)


def test_photographs_that_do_not_differ_are_refused() -> None:
    with pytest.raises(InputError, match="without"):
        draw_pairs(RECORDS[:1], "coat", 1, np.random.default_rng(0))
