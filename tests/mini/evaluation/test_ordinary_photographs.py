"""The document of twelve photographs: every question with its answer, whatever that is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from segue.inference.loaded_model import LoadedModel
from segue.mini.evaluation.ordinary_photographs import SHIPPED, TWELVE, marked, opened, report


def test_there_are_twelve_with_three_questions_each() -> None:
    assert len({(a.source, a.name) for a in TWELVE}) == 12
    assert all(len({q for q, _ in a.questions}) == 3 for a in TWELVE)


def test_shipped_ones_can_be_opened() -> None:
    for asked in TWELVE:
        if asked.source == SHIPPED:
            assert min(opened(asked, Path("nowhere")).size) > 100


def test_every_answer_stands_in_the_document() -> None:
    said = []

    def ask(question: str) -> Any:
        said.append(question)
        return SimpleNamespace(text=f"Answer {len(said)}.", groundings=[])

    model = SimpleNamespace(session=lambda pictures: SimpleNamespace(ask=ask), name="some-model")
    some = [a for a in TWELVE if a.source == SHIPPED][:2]
    text = report(cast(LoadedModel, model), Path("nowhere"), some)
    assert said == [q for a in some for q, _ in a.questions]
    for number, (question, right) in enumerate((pair for a in some for pair in a.questions), 1):
        assert f"| {question} | Answer {number}. | nothing | {right} |" in text


def test_masks_are_told_by_size_and_place() -> None:
    mask = np.zeros((10, 20), bool)
    mask[:5, 10:] = True
    answer = SimpleNamespace(groundings=[SimpleNamespace(phrase="cat", mask=mask, box=[10, 0, 10, 5])])
    assert marked(cast(Any, answer)) == "cat: 25%, 75% from the left, 25% from the top"
