"""Masks: RLE, boxes and polygons are exact, and damaged input is refused rather than read past its end."""

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from segue import masks
from segue.errors import InputError
from segue.masks import RLE, Mask

any_mask = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))


def drawn(*rows: str) -> Mask:
    return np.array([[c == "#" for c in row] for row in rows])


def bytes_rle(rle: RLE) -> dict[str, Any]:
    return {"size": rle["size"], "counts": rle["counts"].encode()}


# ---- RLE ---------------------------------------------------------------------------------------------------


def test_a_known_encoding() -> None:
    # Column by column: two zeros, three ones, one zero; "2", "3", "1" as characters 48 + value.
    assert masks.encode(drawn(".#", ".#", "#.")) == {"size": [3, 2], "counts": "231"}
    assert masks.encode(np.ones((1, 2), bool)) == {"size": [1, 2], "counts": "02"}


@given(any_mask)
def test_encode_and_decode_are_inverse(mask: Mask) -> None:
    rle = masks.encode(mask)
    assert json.loads(json.dumps(rle)) == rle
    decoded = masks.decode(rle)
    assert decoded.dtype == np.bool_
    assert decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, mask)


@given(any_mask)
def test_the_coco_tools_agree(mask: Mask) -> None:
    rle = masks.encode(mask)
    np.testing.assert_array_equal(coco.decode(bytes_rle(rle)).astype(bool), mask)
    assert masks.area(rle) == masks.area(mask) == int(coco.area(bytes_rle(rle)))
    if mask.any():
        assert masks.box(rle) == masks.box(mask) == coco.toBbox(bytes_rle(rle)).tolist()


@given(st.integers(0, 2**32), st.integers(40, 300))
def test_long_runs_and_their_differences(seed: int, side: int) -> None:
    # Blobs of all sizes: run lengths need one to four characters, and differences of both signs.
    rng = np.random.default_rng(seed)
    mask = np.zeros((side, side), bool)
    for _ in range(rng.integers(1, 6)):
        top, left = rng.integers(0, side, 2)
        mask[top : top + rng.integers(1, side), left : left + rng.integers(1, side)] ^= True
    np.testing.assert_array_equal(masks.decode(masks.encode(mask)), mask)


def test_large_masks() -> None:
    mask = np.zeros((3000, 2000), bool)
    mask[17:2900, 40:1990] = True
    rle = masks.encode(mask)
    np.testing.assert_array_equal(masks.decode(rle), mask)
    assert masks.area(rle) == 2883 * 1950


def test_other_forms_of_counts() -> None:
    mask = drawn(".#", ".#", "#.")
    assert (masks.decode({"size": [3, 2], "counts": [2, 3, 1]}) == mask).all()
    assert (masks.decode({"size": [3, 2], "counts": b"231"}) == mask).all()
    assert (masks.decode({"size": (3, 2), "counts": "231"}) == mask).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.int8])
def test_integer_masks_count_as_nonzero(dtype: Any) -> None:
    mask = np.array([[0, 7], [-1 if np.dtype(dtype).kind == "i" else 255, 0]], dtype=dtype)
    np.testing.assert_array_equal(masks.decode(masks.encode(mask)), mask != 0)


@pytest.mark.parametrize("view", [lambda m: m.T, lambda m: m[::-1, ::2], np.asfortranarray])
def test_memory_layout_does_not_matter(view: Any) -> None:
    mask = np.random.default_rng(0).random((9, 14)) < 0.5
    np.testing.assert_array_equal(masks.decode(masks.encode(view(mask))), view(mask))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2, 2), bool),
        np.zeros(4, bool),
        np.zeros((0, 3), bool),
        np.zeros((2, 2)),
        np.array(True),
        None,
    ],
)
def test_arrays_that_are_no_masks(array: Any) -> None:
    with pytest.raises(InputError, match="not a mask"):
        masks.encode(array)


@pytest.mark.parametrize(
    "rle",
    [
        {},
        {"size": [3, 2]},
        {"counts": "231"},
        {"size": [3], "counts": "231"},
        {"size": [3, 0], "counts": ""},
        {"size": [3, -2], "counts": "231"},
        {"size": [3, 2.0], "counts": "231"},
        {"size": "32", "counts": "231"},
        {"size": [3, 2], "counts": ""},
        {"size": [3, 2], "counts": "23"},
        {"size": [3, 2], "counts": "232"},
        {"size": [3, 2], "counts": "2 31"},
        {"size": [3, 2], "counts": "23é"},
        {"size": [3, 2], "counts": "23\x00"},
        {"size": [3, 2], "counts": "23Q"},  # "Q" announces another character
        {"size": [3, 2], "counts": "Q" * 40 + "1"},
        {"size": [3, 2], "counts": "NJ:"},  # negative runs
        {"size": [3, 2], "counts": [2, -3, 7]},
        {"size": [3, 2], "counts": [2, 3.0, 1]},
        {"size": [3, 2], "counts": None},
        {"size": [100_000, 100_000], "counts": "231"},
    ],
)
def test_damaged_rles_are_refused(rle: dict[str, Any]) -> None:
    for function in (masks.decode, masks.check_rle, masks.area, masks.box):
        with pytest.raises(InputError, match="RLE mask is damaged"):
            function(rle)


@given(any_mask, st.data())
def test_changed_counts_never_escape_as_another_error(mask: Mask, data: st.DataObject) -> None:
    rle = masks.encode(mask)
    counts = list(rle["counts"])
    counts[data.draw(st.integers(0, len(counts) - 1))] = data.draw(st.characters())
    damaged = {"size": rle["size"], "counts": "".join(counts)}
    with contextlib.suppress(InputError):
        assert masks.decode(damaged).shape == mask.shape


# ---- empty masks, union, IoU -------------------------------------------------------------------------------


def test_one_rule_for_empty_masks() -> None:
    empty = np.zeros((4, 5), bool)
    for form in (empty, masks.encode(empty)):
        assert masks.area(form) == 0
        assert masks.box(form) == [0.0, 0.0, 0.0, 0.0]
        assert masks.iou(form, empty) == 1.0
        assert masks.iou(form, ~empty) == 0.0
    assert masks.polygons(empty) == []
    assert not masks.from_polygons([], (4, 5)).any()


def test_box_is_x_y_width_height() -> None:
    assert masks.box(drawn("....", "..##", "..#.")) == [2.0, 1.0, 2.0, 2.0]


def test_iou_by_hand() -> None:
    a, b = drawn("##..", "##.."), drawn(".##.", ".##.")
    assert masks.iou(a, b) == pytest.approx(2 / 6)
    assert masks.iou(masks.encode(a), b) == masks.iou(a, masks.encode(b)) == masks.iou(a, b)


@given(any_mask)
def test_iou_with_itself_and_its_complement(mask: Mask) -> None:
    assert masks.iou(mask, mask) == 1.0
    assert masks.iou(mask, ~mask) == 0.0


def test_sizes_must_agree() -> None:
    with pytest.raises(InputError, match=r"(?s)different sizes.*\(2, 3\).*\(3, 2\)"):
        masks.iou(np.ones((2, 3), bool), np.ones((3, 2), bool))
    with pytest.raises(InputError, match="different sizes"):
        masks.union([np.ones((2, 3), bool), np.ones((1, 3), bool)])  # would broadcast


def test_union() -> None:
    a, b = drawn("#..", "..."), drawn("...", "..#")
    np.testing.assert_array_equal(masks.union([a, b, a]), drawn("#..", "..#"))
    merged = masks.union([a])
    merged[:] = True
    assert masks.area(a) == 1
    with pytest.raises(InputError, match="no masks"):
        masks.union([])


# ---- polygons ----------------------------------------------------------------------------------------------


def test_the_outline_of_a_rectangle() -> None:
    assert masks.polygons(drawn("....", ".##.", ".##.")) == [[1.0, 1.0, 3.0, 1.0, 3.0, 3.0, 1.0, 3.0]]


def test_parts_that_touch_at_a_corner_are_two() -> None:
    assert len(masks.polygons(drawn("#.", ".#"))) == 2


def shoelace(polygon: list[float]) -> float:
    x, y = np.array(polygon[::2]), np.array(polygon[1::2])
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


@pytest.mark.parametrize(
    "rows",
    [
        ("###", "#.#", "###"),
        ("#####", "#.#.#", "#####"),
        ("#######", "#.....#", "#.###.#", "#.#.#.#", "#.###.#", "#.....#", "#######"),
        ("####", "#.##", "##.#", "####"),  # two holes that touch at a corner
        ("##.", "#.#", "###"),  # a hole that touches the outside at a corner
    ],
)
def test_holes(rows: tuple[str, ...]) -> None:
    mask = drawn(*rows)
    polygons = masks.polygons(mask)
    np.testing.assert_array_equal(masks.from_polygons(polygons, mask.shape), mask)
    # The cut has no width: the area by the shoelace formula is the number of pixels.
    assert sum(map(shoelace, polygons)) == masks.area(mask)


@given(any_mask)
def test_polygons_are_exact(mask: Mask) -> None:
    polygons = masks.polygons(mask)
    np.testing.assert_array_equal(masks.from_polygons(polygons, mask.shape), mask)
    assert sum(map(shoelace, polygons)) == masks.area(mask)
    for polygon in polygons:
        assert len(polygon) >= 8
        assert len(polygon) % 2 == 0


def test_polygons_of_a_large_round_mask_with_holes() -> None:
    y, x = np.mgrid[:300, :400]
    mask = ((y - 150) ** 2 + (x - 200) ** 2 < 140**2) & ((y % 40 > 12) | (x % 50 > 20))
    polygons = masks.polygons(mask)
    assert len(polygons) == 1
    np.testing.assert_array_equal(masks.from_polygons(polygons, mask.shape), mask)


def test_several_polygons_are_united_and_cut_at_the_border() -> None:
    square = [0.0, 0.0, 2.0, 0.0, 2.0, 2.0, 0.0, 2.0]
    shifted = [v + 1 for v in square]
    assert masks.area(masks.from_polygons([square, shifted], (4, 4))) == 7
    assert masks.area(masks.from_polygons([shifted], (2, 2))) == 1


@pytest.mark.parametrize("polygon", [[], [1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, float("nan"), 6]])
def test_polygons_that_cannot_be_filled(polygon: list[float]) -> None:
    with pytest.raises(InputError, match="polygon 0"):
        masks.from_polygons([polygon], (4, 4))


# ---- sizes -------------------------------------------------------------------------------------------------


def test_a_smaller_mask_takes_the_upper_left_pixel_of_those_it_covers() -> None:
    np.testing.assert_array_equal(
        masks.resize_mask(drawn("#...", "....", "..#."), (3, 2)), drawn("#.", "..", ".#")
    )


@given(
    hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_resized_masks_have_the_size_and_keep_full_and_empty(mask: np.ndarray, hw: tuple[int, int]) -> None:
    resized = masks.resize_mask(mask, hw)
    assert resized.shape == hw
    assert not (mask.all() and not resized.all())
    assert not (resized.any() and not mask.any())


@pytest.mark.parametrize("count", [2**63, -(2**70), -1])
def test_counts_beyond_any_picture_are_told(count: int) -> None:
    with pytest.raises(InputError, match="run lengths between 0 and height"):
        masks.decode({"size": [2, 2], "counts": [0, count]})
