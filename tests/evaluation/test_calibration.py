"""Calibration: what counts as there, what is asked where nothing is, and a fit that finds what was drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from segue import masks
from segue.errors import InputError
from segue.evaluation.calibration import (
    FEWEST,
    Judged,
    annotated,
    cross_validated,
    fit,
    is_there,
    judged_groundings,
    other_record,
    same_name,
)
from segue.evaluation.calibration_report import calibration_page
from segue.evaluation.evaluation_data import EvaluationData
from segue.metrics.matching import GroundedMask
from segue.records import Conversation, ImageRef, Region, Span, Turn
from tiny_model import picture

if TYPE_CHECKING:
    from segue.inference import LoadedModel

HW = (40, 60)


def block(top: int, left: int, side: int = 20) -> np.ndarray:
    mask = np.zeros(HW, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def record(number: int, name: str, images: int = 2) -> Conversation:
    spans = [Span(start=4, end=4 + len(name), rids=["a"])]
    return Conversation(
        id=f"t/{number}", task="photos", split="val",
        images=[ImageRef(image_id=f"t:{number}_{k}", path=f"{number}_{k}.png", height=40, width=60)
                for k in range(images)],
        regions=[Region(rid="a", image_index=0, kind="object", name=name, mask=masks.encode(block(0, 0)))],
        turns=[Turn(role="user", text=f"Where is the {name}?"),
               Turn(role="assistant", text=f"The {name}.", spans=spans)],
    )  # fmt: skip


def mark(mask: np.ndarray, phrase: str = "mug", image: int = 0) -> GroundedMask:
    return GroundedMask(image, phrase, masks.encode(mask))


def test_what_is_there() -> None:
    truth = annotated(record(0, "red mug"))
    assert is_there(mark(block(0, 0)), truth)
    assert is_there(mark(block(0, 4)), truth), "IoU 2/3"
    assert not is_there(mark(block(0, 10)), truth), "IoU 1/3"
    assert not is_there(mark(block(0, 0), image=1), truth)
    assert not is_there(GroundedMask(0, "mug", None), truth)
    assert is_there(mark(block(0, 0)), truth, by_name=True)
    assert not is_there(mark(block(0, 0), "chair"), truth, by_name=True)
    assert not is_there(mark(block(0, 0)), [])


def test_names_that_mean_the_same() -> None:
    assert same_name("mug", "The red mug.")
    assert same_name("red mug", "mug")
    assert not same_name("red mug", "red chair")
    assert not same_name("", "mug")


def test_absent_things_are_asked_of_images_that_lack_them() -> None:
    records = [record(0, "red mug"), record(1, "mug"), record(2, "chair", images=1), record(3, "chair")]
    assert other_record(records, 0) == 3, "1 has a mug, 2 has another number of images"
    assert other_record(records, 3) == 0
    assert other_record(records, 2) is None


def draw(number: int, *, flip: bool = False) -> list[Judged]:
    """Groundings that are there with the probability of a known logistic function."""
    rng = np.random.default_rng(5)
    found = []
    for k in range(number):
        mask, text = (float(v) for v in rng.uniform(0.05, 0.95, 2))
        total = 0.7 * np.log(mask / (1 - mask)) + 1.4 * np.log(text / (1 - text)) - 0.8
        there = rng.random() < 1 / (1 + np.exp(-total))
        found.append(Judged(1 - mask if flip else mask, text, bool(there), k // 3))
    return found


def test_the_fit_finds_what_was_drawn() -> None:
    found = fit(draw(4000))
    assert found.weights["mask"] == pytest.approx(0.7, abs=0.1)
    assert found.weights["text"] == pytest.approx(1.4, abs=0.15)
    assert found.bias == pytest.approx(-0.8, abs=0.15)


def test_a_confidence_that_speaks_against_presence_is_left_out() -> None:
    assert set(fit(draw(1000, flip=True)).weights) == {"text"}
    without = [Judged(j.mask, None, j.there, j.group) for j in draw(1000)]
    assert set(fit(without).weights) == {"mask"}


def test_calibrated_scores_are_nearer_to_frequencies() -> None:
    measured = cross_validated(draw(900))
    numbers = measured.numbers()
    assert numbers["calibrated"]["ece"] < 0.06 < numbers["uncalibrated"]["ece"]
    assert numbers["calibrated"]["brier"] < numbers["uncalibrated"]["brier"]
    about = {"model": "<m>", "groundings": 900, "measured": numbers}
    page = calibration_page(measured, about)
    assert "&lt;m&gt;" in page
    assert f"{numbers['calibrated']['ece']:.3f}" in page
    assert page.count("<polyline") == 2


def test_a_fold_is_measured_by_what_has_not_seen_it() -> None:
    # Ten times as many of one truth in one record: with it in the fit its scores would be high.
    odd = [Judged(0.5, 0.5, True, 0)] * 40
    rest = [Judged(0.5, 0.5, k % 2 == 0, 1 + k % 40) for k in range(80)]
    measured = cross_validated(odd + rest)
    assert measured.calibrated[0] == pytest.approx(0.5, abs=0.02)
    assert fit(odd + rest).probability(0.5, 0.5) == pytest.approx(80 / 120, abs=0.02)


def test_too_few_are_refused() -> None:
    some = [Judged(0.5, 0.5, True, k) for k in range(50)]
    with pytest.raises(InputError, match=f"at least {FEWEST} whose thing is there"):
        fit(some)


def test_a_model_is_asked_and_judged(tiny_model: LoadedModel, tmp_path: Path) -> None:
    records = [record(0, "red mug"), record(1, "chair")]
    for number in range(2):
        for k in range(2):
            picture(40, 60, 60 + 70 * k).save(tmp_path / f"{number}_{k}.png")
    told: list[tuple[int, int]] = []
    found = judged_groundings(
        tiny_model, EvaluationData(records, tmp_path), progress=lambda done, total: told.append((done, total))
    )
    # Two masks an answer; each record is asked its own question, and the other's.
    assert [(j.group, j.asked_absent) for j in found] == [
        (0, False), (0, False), (1, False), (1, False), (1, True), (1, True), (0, True), (0, True)
    ]  # fmt: skip
    assert all(j.text is not None and 0 < j.text <= 1 for j in found)
    assert told == [(2, 2)]
    alone = judged_groundings(tiny_model, EvaluationData(records, tmp_path), absent=False)
    assert len(alone) == 4
