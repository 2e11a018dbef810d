"""Referring segmentation against counted pixels, PRIST's against its table's arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segue import masks
from segue.metrics.matching import GroundedMask
from segue.metrics.referring import (
    RegionCounts,
    count_regions,
    harmonic_mean,
    prist_tallies,
    referring_tallies,
)
from segue.metrics.tally import scores

MASKS = st.lists(st.tuples(arrays(bool, (3, 4)), arrays(bool, (3, 4))), min_size=1, max_size=8)


def counts(predicted: np.ndarray, target: np.ndarray) -> RegionCounts:
    return RegionCounts(int((predicted & target).sum()), int(predicted.sum()), int(target.sum()))


@given(MASKS)
def test_against_a_slow_reading(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    found = scores([referring_tallies(counts(*pair)) for pair in pairs])
    ious, above, below, drawn, absent = [], 0, 0, [], []
    for predicted, target in pairs:
        inter = sum(bool(p and t) for p, t in zip(predicted.flat, target.flat, strict=True))
        union = sum(bool(p or t) for p, t in zip(predicted.flat, target.flat, strict=True))
        ious.append(inter / union if union else 1.0)
        above, below = above + inter, below + union
        (drawn if target.any() else absent).append((ious[-1], bool(predicted.any())))
    assert found["mean_iou"] == pytest.approx(np.mean(ious))
    assert found["cumulative_iou"] == (pytest.approx(above / below) if below else None)
    if drawn:
        assert found["precision_at_50"] == pytest.approx(np.mean([i >= 0.5 for i, _ in drawn]))
        assert found["precision_at_90"] == pytest.approx(np.mean([i >= 0.9 for i, _ in drawn]))
        assert found["target_accuracy"] == pytest.approx(np.mean([some for _, some in drawn]))
    if absent:
        assert found["no_target_accuracy"] == pytest.approx(np.mean([not some for _, some in absent]))


@given(MASKS)
def test_micro_precision_and_recall_are_bound_to_cumulative_iou(
    pairs: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    found = scores([prist_tallies(counts(*pair)) for pair in pairs])
    f1 = harmonic_mean(found["pixel_precision"], found["pixel_recall"])
    if f1 is not None:
        assert found["cumulative_iou"] == pytest.approx(f1 / (2 - f1))


def test_ten_of_ten_pixels_is_p_at_90_and_nine_of_ten_too() -> None:
    assert referring_tallies(RegionCounts(9, 9, 10))["precision_at_90"].value == 1
    assert referring_tallies(RegionCounts(89, 89, 100))["precision_at_90"].value == 0


def test_a_missing_answer_counts_zero_and_an_empty_one_for_nothing_counts_one() -> None:
    missing, right = prist_tallies(RegionCounts(0, 0, 8)), prist_tallies(RegionCounts(0, 0, 0))
    assert scores([missing])["mean_iou"] == 0
    assert scores([missing])["pixel_recall"] == 0
    assert scores([right])["mean_iou"] == 1
    assert scores([right])["pixel_precision_macro"] == 1


@pytest.mark.parametrize(
    ("precision", "recall", "f1"), [(0.2422, 0.4061, 0.3034), (0.2623, 0.2922, 0.2764), (0, 0, 0)]
)
def test_f1_as_the_table_of_miras_has_it(precision: float, recall: float, f1: float) -> None:
    assert harmonic_mean(precision, recall) == pytest.approx(f1, abs=1e-4)
    assert harmonic_mean(None, recall) is None


MARKS = st.lists(st.tuples(st.integers(0, 1), arrays(bool, (3, 4))), max_size=3)


@given(MARKS, MARKS, arrays(bool, (3, 4)))
def test_regions_are_united_in_each_image(predicted: list, targets: list, ignored: np.ndarray) -> None:
    def united(marks: list, image: int) -> np.ndarray:
        parts = [mask for where, mask in marks if where == image]
        both = np.logical_or.reduce(parts) if parts else np.zeros((3, 4), bool)
        return both & ~ignored if image == 0 else both

    def marks(side: list) -> list[GroundedMask]:
        return [GroundedMask(image, "any", masks.encode(mask)) for image, mask in side]

    found = count_regions(marks(predicted), marks(targets), {0: masks.encode(ignored)})
    sides = [(united(predicted, k), united(targets, k)) for k in (0, 1)]
    assert found == RegionCounts(
        sum(int((p & t).sum()) for p, t in sides),
        sum(int(p.sum()) for p, _ in sides),
        sum(int(t.sum()) for _, t in sides),
    )
