"""Presence scores: what is raw says so, what is calibrated is a logistic function, files are checked."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from segue.errors import InputError
from segue.records.presence import (
    Calibration,
    presence_of,
    read_calibration,
    write_calibration,
)

CALIBRATION = Calibration({"mask": 0.5, "text": 2.0}, -1.0, {"model": "m"})


def test_raw_scores_are_means_and_say_so() -> None:
    both = presence_of(0.9, 0.4)
    assert both.score == pytest.approx(0.6)
    assert both.to_json() == {"score": both.score, "calibrated": False, "mask": 0.9, "text": 0.4}
    assert presence_of(0.9, None).score == 0.9
    assert presence_of(0.0, 1.0).score == 0.0


def test_a_calibrated_score_is_the_logistic_function() -> None:
    found = presence_of(0.9, 0.4, CALIBRATION)
    total = 0.5 * math.log(0.9 / 0.1) + 2 * math.log(0.4 / 0.6) - 1
    assert found.calibrated
    assert found.score == pytest.approx(1 / (1 + math.exp(-total)))
    # Confidences of exactly 0 and 1 stay finite, and order is kept.
    scores = [presence_of(m, t, CALIBRATION).score for m, t in ((0, 0), (0, 1), (0.5, 1), (1, 1))]
    assert scores == sorted(scores)
    assert 0 < scores[0] < scores[-1] < 1


def test_without_a_confidence_that_it_needs_a_calibration_is_not_used() -> None:
    found = presence_of(0.9, None, CALIBRATION)
    assert (found.score, found.calibrated) == (0.9, False)
    assert presence_of(0.9, None, Calibration({"mask": 1.0}, 0.0)).calibrated


def test_files_come_back(tmp_path: Path) -> None:
    file = write_calibration(CALIBRATION, tmp_path / "c.json")
    assert read_calibration(file) == CALIBRATION


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"format": "segue-calibration/1", "weights": {}, "bias": 0}',
     '{"format": "segue-calibration/1", "weights": {"mask": "1"}, "bias": 0}',
     '{"format": "segue-calibration/1", "weights": {"mask": true}, "bias": 0}',
     '{"format": "segue-calibration/1", "weights": {"mask": 1}}',
     '{"format": "segue-calibration/1", "weights": {"mask": NaN}, "bias": 0}',
     '{"format": "segue-calibration/1", "weights": {"smell": 1}, "bias": 0}',
     '{"format": "segue-calibration/2", "weights": {"mask": 1}, "bias": 0}', "[" * 100_000],
)  # fmt: skip
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text(content)
    with pytest.raises(InputError, match="The calibration cannot be read"):
        read_calibration(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json"):
        read_calibration(tmp_path / "none.json")


def test_the_file_says_what_it_was_fitted_on(tmp_path: Path) -> None:
    content: dict[str, Any] = json.loads(write_calibration(CALIBRATION, tmp_path / "c.json").read_text())
    assert content["about"] == {"model": "m"}
