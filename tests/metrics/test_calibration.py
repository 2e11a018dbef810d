"""Calibration scores by hand, and against the definitions on random numbers."""

from __future__ import annotations

import numpy as np
import pytest

from segue.metrics.calibration import brier_score, expected_calibration_error, ranking_auc, reliability


def test_bins_and_error_by_hand() -> None:
    scores, there = [0.95, 1.0, 0.05, 0.05], [True, False, False, True]
    bins = reliability(scores, there)
    filled = [(b.low, b.count, b.mean, b.frequency) for b in bins if b.count]
    assert filled == [(0.0, 2, 0.05, 0.5), (0.9, 2, 0.975, 0.5)]
    # 2 of 4 are 0.45 off, 2 of 4 are 0.475 off.
    assert expected_calibration_error(scores, there) == pytest.approx(0.4625)
    assert brier_score(scores, there) == pytest.approx((0.05**2 + 1 + 0.05**2 + 0.95**2) / 4)


def test_a_frequency_for_a_score_has_no_error() -> None:
    assert expected_calibration_error([0.75] * 4, [True, True, True, False]) == 0
    assert expected_calibration_error([1.0, 0.0], [True, False]) == 0
    assert expected_calibration_error([1.0, 0.0], [False, True]) == 1


def test_ranking() -> None:
    assert ranking_auc([0.9, 0.1], [True, False]) == 1
    assert ranking_auc([0.1, 0.9], [True, False]) == 0
    assert ranking_auc([0.5, 0.5], [True, False]) == 0.5
    assert ranking_auc([0.5], [True]) is None
    rng = np.random.default_rng(0)
    scores, there = rng.random(60).round(1).tolist(), (rng.random(60) < 0.5).tolist()
    pairs = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a, t in zip(scores, there) if t
        for b, u in zip(scores, there) if not u
    ]  # fmt: skip
    assert ranking_auc(scores, there) == pytest.approx(sum(pairs) / len(pairs))


def test_nothing_has_no_score() -> None:
    assert expected_calibration_error([], []) is None
    assert brier_score([], []) is None
    assert ranking_auc([], []) is None
