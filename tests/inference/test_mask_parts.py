"""What pictures leave out of a mask, and where they put its label."""

import numpy as np
import pytest

from segue.inference.mask_parts import label_point, main_part, without_specks


def mask_of(*blocks: tuple[slice, slice], hw: tuple[int, int] = (200, 300)) -> np.ndarray:
    mask = np.zeros(hw, dtype=bool)
    for rows, columns in blocks:
        mask[rows, columns] = True
    return mask


MAIN = (slice(50, 150), slice(50, 150))  # 10 000 pixels: a speck has fewer than 200
FAR = slice(280, 290)  # 130 pixels to the right of it; near ends at 6


@pytest.mark.parametrize(
    ("other", "shown"),
    [
        ((slice(0, 10), FAR), False),  # tiny and far
        ((slice(60, 100), slice(280, 285)), True),  # 200 pixels: no longer tiny
        ((slice(60, 70), slice(156, 166)), True),  # tiny, but six pixels away
        ((slice(60, 70), slice(157, 167)), False),
        ((slice(150, 160), slice(150, 160)), True),  # touches at a corner: the same part
    ],
)
def test_only_what_is_tiny_and_far_is_left_out(other: tuple[slice, slice], shown: bool) -> None:
    mask = mask_of(MAIN, other)
    assert np.array_equal(without_specks(mask), mask if shown else mask_of(MAIN))


def test_the_mask_itself_is_not_changed() -> None:
    mask = mask_of(MAIN, (slice(0, 10), FAR))
    before = mask.copy()
    without_specks(mask)
    assert np.array_equal(mask, before)


def test_the_label_stands_at_the_largest_part() -> None:
    # A speck above the main part, where the first row of the whole mask is.
    mask = mask_of(MAIN, (slice(0, 10), FAR))
    assert np.array_equal(main_part(mask), mask_of(MAIN))
    assert label_point(mask) == (100.0, 50.0)


def test_a_leaning_part_has_its_label_over_its_upper_end() -> None:
    mask = np.zeros((100, 100), dtype=bool)
    for row in range(100):
        mask[row, row : row + 5] = True
    x, y = label_point(mask)
    assert y == 0
    assert mask[:10, int(x)].any()


def test_an_empty_mask_stays_empty() -> None:
    empty = mask_of()
    assert not main_part(empty).any()
    assert without_specks(empty) is empty
