"""Views keep every answer true: nothing annotated leaves the picture or is mirrored, sizes compare."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segue import masks
from segue.training.augmentation import MEAN_COLOUR
from segue.training.views import FARTHEST, NEAREST, View, draw_views


def rectangle(hw: tuple[int, int], left: int, top: int, width: int, height: int) -> np.ndarray:
    mask = np.zeros(hw, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def conversation(*found: tuple[int, np.ndarray], bbox: bool = False) -> Any:
    regions = [
        SimpleNamespace(image_index=i, mask=masks.encode(m), bbox=masks.box(m) if bbox else None)
        for i, m in found
    ]
    return SimpleNamespace(regions=regions)


HWS = ((60, 90), (90, 60))


@given(
    seed=st.integers(0, 10_000),
    boxes=st.lists(
        st.tuples(st.integers(0, 1), *[st.integers(0, 40)] * 2, *[st.integers(8, 20)] * 2),
        max_size=4,
    ),
)
@settings(max_examples=60, deadline=None)
def test_all_that_is_annotated_stays_in_the_picture(seed: int, boxes: list[tuple[int, ...]]) -> None:
    found = [(i, rectangle(HWS[i], *box)) for i, *box in boxes]
    views = draw_views(conversation(*found), HWS, np.random.default_rng(seed))
    area = abs(np.linalg.det(views[0].linear))
    for i, mask in found:
        # Pixels of the window cover `area` pixels of the image each.
        assert views[i].mask(mask).sum() * area == pytest.approx(mask.sum(), rel=0.25)


def test_even_where_everything_is_annotated() -> None:
    whole = np.ones(HWS[0], bool)
    for seed in range(20):
        (view,) = draw_views(conversation((0, whole)), HWS[:1], np.random.default_rng(seed))
        assert view.mask(whole).sum() * np.linalg.det(view.linear) == pytest.approx(whole.sum(), rel=0.03)


def test_images_of_a_conversation_come_equally_near_and_none_is_mirrored() -> None:
    sizes = []
    for seed in range(40):
        mask = rectangle(HWS[0], 40, 25, 8, 8)
        first, second = draw_views(conversation((0, mask)), HWS, np.random.default_rng(seed))
        assert np.linalg.det(first.linear) == pytest.approx(np.linalg.det(second.linear))
        assert np.linalg.det(first.linear) > 0, "a mirror image has a negative determinant"
        sizes.append(float(np.linalg.det(first.linear)) ** 0.5)
    assert NEAREST <= min(sizes) < 0.85
    assert 1.15 < max(sizes) <= FARTHEST


def test_masks_move_with_their_pixels_at_any_size() -> None:
    hw = (80, 120)
    mask = rectangle(hw, 30, 20, 50, 40)
    image = np.full((*hw, 3), 40, np.uint8)
    image[mask] = 220
    for seed in range(10):
        (view,) = draw_views(conversation((0, mask), bbox=True), [hw], np.random.default_rng(seed))
        seen, moved = np.asarray(view.image(Image.fromarray(image))), view.mask(mask)
        assert seen.shape == (*hw, 3)
        bright = seen[..., 0] > 150
        assert masks.iou(bright & moved, moved) > 0.95
        half = view.mask(mask[::2, ::2])
        assert masks.iou(half, moved[::2, ::2]) > 0.9, "the same place at half the size"


def test_what_lies_beyond_the_image_has_the_mean_colour() -> None:
    far = View(2 * np.eye(2), np.array([0.5, 0.5]), light=0)
    seen = np.asarray(far.image(Image.new("RGB", (40, 40), (255, 255, 255))))
    corner, middle = seen[0, 0].astype(int), seen[20, 20].astype(int)
    assert np.ptp(corner - np.array(MEAN_COLOUR)) < 40, "one change of light for all channels"
    assert (middle > corner).all()
    assert not far.mask(np.ones((40, 40), bool))[:9].any()


def test_a_view_depends_on_its_generator_alone() -> None:
    talk = conversation((0, rectangle(HWS[0], 5, 5, 20, 20)))
    one, two, other = (draw_views(talk, HWS, np.random.default_rng(s)) for s in (3, 3, 4))
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (*HWS[0], 3), dtype=np.uint8))
    assert np.array_equal(one[0].image(image), two[0].image(image))
    assert not np.array_equal(one[0].image(image), other[0].image(image))
