"""Heat of likeness: hot where features are those under the mark, cold where they are those around it."""

from __future__ import annotations

import pytest
import torch

from segue.models.match_heat import LOUDEST, Likeness, loudness, prompt_of

A, B = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])


def scene(column: int, size: int = 8) -> torch.Tensor:
    """Features A in two columns from `column` on, B elsewhere."""
    features = B[:, None, None].expand(3, size, size).clone()
    features[:, :, column : column + 2] = A[:, None, None]
    return features


def mark(column: int, size: int = 8, scale: int = 4) -> torch.Tensor:
    mask = torch.zeros(size * scale, size * scale, dtype=torch.bool)
    mask[:, column * scale : (column + 2) * scale] = True
    return mask


def test_hot_where_it_lies_now() -> None:
    likeness = Likeness.of([(scene(1), 1.0)], mark(1))
    heat = likeness.heat([(scene(5), 1.0)])
    assert heat[:, 5:7].min() == pytest.approx(1.0)
    assert heat[:, :5].max() == pytest.approx(-1.0)
    assert likeness.score(heat) == pytest.approx(1.0)
    nothing = B[:, None, None].expand(3, 8, 8)
    assert likeness.score(likeness.heat([(nothing, 1.0)])) == 0.0


def test_maps_of_two_sizes_are_weighed() -> None:
    fine, coarse = (scene(2, 16), 3.0), (scene(1, 8), 1.0)
    likeness = Likeness.of([fine, coarse], mark(2, 16))
    assert likeness.weights == (0.75, 0.25)
    assert likeness.heat([fine, coarse]).shape == (16, 16)


def test_a_mark_that_covers_everything_still_compares() -> None:
    everything = torch.ones(8, 8, dtype=torch.bool)
    likeness = Likeness.of([(scene(1), 1.0)], everything)
    assert likeness.score(likeness.heat([(scene(1), 1.0)])) == pytest.approx(1.0)


def test_loudness_is_of_the_hottest_cells() -> None:
    heat = torch.zeros(50, 50)
    heat[0, : round(LOUDEST * 2500)] = 2.0
    assert loudness(heat) == pytest.approx(2.0)
    assert prompt_of(heat).max() == 1.0
    assert prompt_of(-heat).min() == -1.5
