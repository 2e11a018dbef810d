"""Small masks are drawn again in a crop around them; what is large, empty or elsewhere stays as it was."""

from __future__ import annotations

import numpy as np
import pytest

import segue
from segue.inference import LoadedModel
from segue.inference.zoom import window_around, zoom
from segue.masks import iou
from tiny_model import picture


def mask(rows: slice, columns: slice, hw: tuple[int, int] = (400, 600)) -> np.ndarray:
    found = np.zeros(hw, bool)
    found[rows, columns] = True
    return found


def test_windows() -> None:
    assert window_around(mask(slice(100, 120), slice(200, 240))) == (170, 70, 270, 150)
    assert window_around(mask(slice(0, 10), slice(0, 10))) == (0, 0, 18, 18)
    assert window_around(mask(slice(0, 0), slice(0, 0))) is None
    assert window_around(mask(slice(0, 300), slice(0, 400))) is None


@pytest.fixture(scope="module")
def embedded() -> LoadedModel:
    return segue.load("segue-mini", device="cpu")


def test_another_look_stays_in_its_window(embedded: LoadedModel) -> None:
    first = mask(slice(100, 130), slice(200, 240))
    found = zoom(embedded, embedded.image_encoder, picture(400, 600), first)
    if found is not None:  # it may see something else there, and then says nothing
        again, score = found
        left, top, right, bottom = window_around(first) or (0, 0, 0, 0)
        outside = again.copy()
        outside[top:bottom, left:right] = False
        assert again.shape == first.shape
        assert not outside.any()
        assert iou(again, first) >= 0.3
        assert 0 < score <= 1


def test_an_answer_keeps_what_cannot_be_looked_at(tiny_model: LoadedModel) -> None:
    answer = tiny_model.session([picture(), picture(shade=200)]).ask("Which is larger?")
    again = tiny_model.zoom(answer)
    assert len(again.groundings) == len(answer.groundings)
    assert [g.span for g in again.groundings] == [g.span for g in answer.groundings]
    assert "drawn again" in again.notes[-1]
    assert answer.notes == []
