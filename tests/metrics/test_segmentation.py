"""Mask metrics: hand-counted values, empty-set rules, and properties of IoU."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from segue.errors import InputError
from segue.metrics import cumulative_iou, iou, mean_iou, overlap, recall_at

SHAPES = st.shared(array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9), key="hw")
MASKS = SHAPES.flatmap(lambda hw: arrays(bool, hw))


def mask(*rows: str) -> np.ndarray:
    return np.array([[c == "#" for c in row] for row in rows])


def test_counts_by_hand() -> None:
    a, b = mask("##.", "##."), mask(".##", "...")
    assert overlap(a, b) == (1, 5)
    assert iou(a, b) == pytest.approx(0.2)


def test_ignored_pixels_count_neither_way() -> None:
    a, b, ignore = mask("##.", "##."), mask(".##", "..."), mask("..#", "#..")
    assert overlap(a, b, ignore) == (1, 3)


def test_empty_masks() -> None:
    empty, full = np.zeros((2, 3), bool), np.ones((2, 3), bool)
    assert iou(empty, empty) == 1.0
    assert iou(empty, full) == iou(full, empty) == 0.0
    assert iou(full, ~full, ignore=full) == 1.0


def test_means_over_nothing_are_undefined() -> None:
    assert mean_iou([]) is None
    assert recall_at([]) is None
    assert cumulative_iou([]) is None
    assert cumulative_iou([(0, 0)]) == 1.0


def test_means() -> None:
    assert mean_iou([1.0, 0.0, 0.5]) == pytest.approx(0.5)
    assert recall_at([0.51, 0.49, 1.0, 0.0]) == pytest.approx(0.5)
    assert cumulative_iou([(1, 2), (9, 18), (0, 5)]) == pytest.approx(10 / 25)


def test_an_iou_at_the_threshold() -> None:
    half = iou(np.array([[True, True]]), np.array([[True, False]]))
    assert half == 0.5
    # PRIMA appendix B asks for more than 0.5; P@0.5 of referring segmentation for at least that.
    assert recall_at([half]) == 0.0
    assert recall_at([half], inclusive=True) == 1.0
    assert recall_at([np.nextafter(0.5, 1)]) == 1.0


def test_different_sizes_are_refused_with_both_sizes() -> None:
    with pytest.raises(InputError) as caught:
        iou(np.zeros((2, 3), bool), np.zeros((3, 2), bool))
    assert "(3, 2)" in str(caught.value)
    assert "(2, 3)" in str(caught.value)


@given(MASKS, MASKS)
def test_iou_is_symmetric_and_bounded(a: np.ndarray, b: np.ndarray) -> None:
    assert iou(a, b) == iou(b, a)
    assert 0.0 <= iou(a, b) <= 1.0
    assert (iou(a, b) == 1.0) == bool((a == b).all())


@given(MASKS, MASKS)
def test_union_and_intersection_add_up(a: np.ndarray, b: np.ndarray) -> None:
    intersection, union = overlap(a, b)
    assert intersection + union == int(a.sum()) + int(b.sum())


@given(st.lists(st.floats(0, 1), min_size=1), st.floats(0, 1))
def test_recall_falls_with_the_threshold(ious: list[float], threshold: float) -> None:
    low, high, at = (
        recall_at(ious, 0.0),
        recall_at(ious, threshold),
        recall_at(ious, threshold, inclusive=True),
    )
    assert low is not None
    assert high is not None
    assert at is not None
    assert high <= low
    assert high <= at
    assert recall_at(ious, 0.0, inclusive=True) == 1.0
