"""Assignments against all possible ones, IoUs against counted pixels."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segue import masks
from segue.errors import InputError
from segue.metrics.matching import GroundedMask, best_assignment, greedy_assignment, iou_matrix

VALUES = st.tuples(st.integers(0, 4), st.integers(0, 4)).flatmap(
    lambda shape: arrays(float, shape, elements=st.sampled_from([0.0, 0.0, 0.1, 0.3, 0.5, 0.5, 0.9, 1.0]))
)


def best_sum(values: np.ndarray) -> float:
    """Slow reading: every way to give predictions to targets."""
    rows, columns = values.shape
    longer = max(rows, columns)
    square = np.zeros((longer, longer))
    square[:rows, :columns] = values
    return max(
        (sum(square[i, j] for j, i in enumerate(order)) for order in permutations(range(longer))), default=0.0
    )


@given(VALUES)
def test_no_assignment_is_better(values: np.ndarray) -> None:
    pairs = best_assignment(values)
    assert sum(values[pair] for pair in pairs) == pytest.approx(best_sum(values))
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert all(values[pair] > 0 for pair in pairs)


def test_ties_are_decided_by_the_second_table_and_by_nothing_else() -> None:
    values, names = np.full((2, 2), 0.5), np.array([[0.1, 0.9], [0.2, 0.3]])
    assert best_assignment(values, ties=names) == [(1, 0), (0, 1)]
    assert best_assignment(values, ties=names.T) == [(1, 0), (0, 1)]
    # A thousandth of IoU counts for more than any name.
    values[0, 0] = 0.501
    assert best_assignment(values, ties=names) == [(0, 0), (1, 1)]


def test_the_greedy_one_is_not_the_best_one() -> None:
    values = np.array([[0.9, 0.8], [0.8, 0.0]])
    assert greedy_assignment(values) == [(0, 0)]
    assert best_assignment(values) == [(1, 0), (0, 1)]


def mark(image: int, mask: np.ndarray | None) -> GroundedMask:
    return GroundedMask(image, "x", None if mask is None else masks.encode(mask))


MASK = arrays(bool, (4, 5))


@given(
    st.lists(st.tuples(st.integers(0, 1), MASK), max_size=3),
    st.lists(st.tuples(st.integers(0, 1), MASK), max_size=3),
)
def test_ious_are_counted_pixels(
    left: list[tuple[int, np.ndarray]], right: list[tuple[int, np.ndarray]]
) -> None:
    found = iou_matrix([mark(*m) for m in left], [mark(*m) for m in right])
    for i, (image, a) in enumerate(left):
        for j, (other, b) in enumerate(right):
            union = (a | b).sum()
            expected = 0.0 if image != other else (a & b).sum() / union if union else 1.0
            assert found[i, j] == pytest.approx(expected)


def test_ignored_pixels_count_neither_way() -> None:
    a, b, ignore = np.zeros((3, 2, 4), bool)
    a[0, :2], b[0, 1:3], ignore[0, 2] = True, True, True
    plain = iou_matrix([mark(0, a)], [mark(0, b)])
    without = iou_matrix([mark(0, a)], [mark(0, b)], {0: masks.encode(ignore)})
    assert (plain[0, 0], without[0, 0]) == (pytest.approx(1 / 3), pytest.approx(1 / 2))


def test_nothing_drawn_is_an_empty_mask() -> None:
    full, none = np.ones((2, 2), bool), np.zeros((2, 2), bool)
    found = iou_matrix([mark(0, None)], [mark(0, full), mark(0, none), mark(1, none)])
    assert found.tolist() == [[0, 1, 0]]


def test_masks_of_one_image_have_one_size() -> None:
    with pytest.raises(InputError, match=r"\(2, 2\), \(3, 3\)"):
        iou_matrix([mark(0, np.ones((2, 2), bool))], [mark(0, np.ones((3, 3), bool))])
