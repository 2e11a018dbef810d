"""Pictures without anything known, and how well they are told from others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import skimage.data
from PIL import Image

import segue
from segue.inference.loaded_model import LoadedModel
from segue.mini.evaluation import unknown_pictures as unknown
from segue.mini.evaluation.unknown_pictures import PICTURE, knownness, measure_unknown


def test_pictures_are_of_one_size_and_differ() -> None:
    for pictures in unknown.unknown_pictures(5).values():
        assert {p.size for p in pictures} == {PICTURE}
        assert len({p.tobytes() for p in pictures}) == 5


def test_the_same_seed_gives_the_same_pictures() -> None:
    first, second, other = (unknown.unknown_pictures(2, seed)["plots"][1] for seed in (1, 1, 2))
    assert first.tobytes() == second.tobytes() != other.tobytes()


def test_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photographs score 0.9; plots too, so these cannot be told."""
    plots = {p.tobytes() for p in unknown.unknown_pictures(2)["plots"]}

    def score(model: Any, picture: Any) -> float:
        return 0.9 if isinstance(picture, str) or picture.tobytes() in plots else 0.1

    def ask(question: str, pictures: list[Any]) -> Any:
        known = isinstance(pictures[0], str)
        return SimpleNamespace(text="A cat." if known else "I do not know what this shows.")

    monkeypatch.setattr(unknown, "knownness", score)
    figures = measure_unknown(cast(LoadedModel, SimpleNamespace(ask=ask)), ["a.jpg", "b.jpg"], 2)
    assert figures["pages of text"] == {"auroc": 1.0, "said_unknown": 1.0, "pictures": 2}
    assert figures["plots"]["auroc"] == 0.5
    assert figures["known"]["said_unknown"] == 0.0
    assert figures["auroc"] == pytest.approx(5 / 6, abs=1e-4)


def test_a_cat_is_better_known_than_a_grey_picture() -> None:
    model = segue.load("segue-mini")
    grey = Image.fromarray(np.full((240, 320, 3), 128, np.uint8))
    cat = knownness(model, Image.fromarray(skimage.data.chelsea()))
    assert cat > 0.9
    assert knownness(model, grey) < cat
