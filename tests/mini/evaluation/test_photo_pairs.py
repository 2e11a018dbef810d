"""Pairs of photographs: what is drawn for them, and a model that is right, wrong or silent."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segue.masks import encode
from segue.mini.evaluation.photo_pairs import Pair, draw_pairs, mask_of, measure
from segue.mini.look.photographs import Photograph, Region
from segue.models.mini.names import name_table


def photograph(number: int, *names: str, side: int = 10) -> Photograph:
    mask = np.zeros((20, 20), bool)
    mask[:side, :side] = True
    regions = tuple(Region(name, encode(mask), True) for name in names)
    return Photograph(Path(f"{number}.jpg"), (20, 20), regions, None, "everyday")


PHOTOGRAPHS = [photograph(0, "dog"), photograph(1, "cat"), photograph(2, "cat", "dog"), photograph(3, "sofa")]


def answering(pairs: list[Pair], place: Any, part: float = 1.0) -> Any:
    """A model that marks the right mask, or a part of it, in the images that `place` says."""
    by_paths = {tuple(p.path for p in pair.photographs): pair for pair in pairs}

    def session(paths: list[Path]) -> Any:
        pair = by_paths[tuple(paths)]
        mask = np.zeros((20, 20), bool) if pair.mask is None else pair.mask.copy()
        mask[int(20 * part) :] = False
        marked = [SimpleNamespace(image_index=k, mask=mask) for k in place(pair)]
        return SimpleNamespace(ask=lambda question: SimpleNamespace(groundings=marked))

    return SimpleNamespace(session=session)


def test_exactly_one_shows_it_or_none() -> None:
    for pair in draw_pairs(PHOTOGRAPHS, name_table(), 20, absent=False):
        assert [pair.name in p.shown() for p in pair.photographs] == [k == pair.place for k in range(2)]
    for pair in draw_pairs(PHOTOGRAPHS, name_table(), 20, absent=True):
        assert not any(pair.name in p.shown() for p in pair.photographs)


def test_some_names_alone_can_be_asked_for() -> None:
    pairs = draw_pairs(PHOTOGRAPHS, name_table(), 20, absent=False, among=("sofa", "dog"))
    assert {pair.name for pair in pairs} == {"sofa", "dog"}


def test_too_small_things_are_not_asked_for() -> None:
    assert mask_of(photograph(0, "dog", side=2), "dog") is None
    assert mask_of(photograph(0, "dog"), "cat") is None


@pytest.mark.parametrize(
    ("place", "part", "expected"),
    [
        (lambda pair: [pair.place], 1.0, (1.0, 1.0, 0.0)),
        (lambda pair: [pair.place], 0.25, (1.0, 0.5, 0.0)),
        (lambda pair: [0, 1], 1.0, (0.0, 1.0, 0.0)),
        (lambda pair: [1 - pair.place], 1.0, (0.0, 0.0, 0.0)),
        (lambda pair: [], 1.0, (0.0, 0.0, 1.0)),
    ],
)
def test_figures(place: Any, part: float, expected: tuple[float, float, float]) -> None:
    pairs = draw_pairs(PHOTOGRAPHS, name_table(), 6, absent=False)
    figures = measure(answering(pairs, place, part), pairs)
    assert (figures["right_image"], figures["mean_iou"], figures["refused"]) == expected


def test_absent_things_count_as_refused_only_without_a_mark() -> None:
    pairs = draw_pairs(PHOTOGRAPHS, name_table(), 6, absent=True)
    assert measure(answering(pairs, lambda pair: []), pairs)["refused"] == 1.0
    assert measure(answering(pairs, lambda pair: [0]), pairs)["refused"] == 0.0
