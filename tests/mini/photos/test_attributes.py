"""Colour names are those a person would use for clear colours, and the measures read the mask only."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.mini.photos.attributes import COLOUR_NAMES, colour_name, luminance, median_rgb


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((200, 30, 35), "red"),
        ((240, 140, 30), "orange"),
        ((235, 215, 60), "yellow"),
        ((40, 140, 60), "green"),
        ((40, 70, 170), "blue"),
        ((110, 50, 160), "purple"),
        ((240, 150, 180), "pink"),
        ((110, 70, 40), "brown"),
        ((240, 240, 238), "white"),
        ((15, 15, 18), "black"),
        ((25, 28, 45), "black"),  # what people call black clothes is often a very dark blue
        ((128, 126, 130), "grey"),
        ((60, 75, 110), "blue"),  # denim
        ((200, 175, 140), "brown"),  # beige
        ((150, 120, 115), "brown"),  # taupe
        ((88, 96, 108), "grey"),  # grey cloth in the shade
    ],
)
def test_clear_colours(rgb: tuple[int, int, int], name: str) -> None:
    assert colour_name(rgb) == name


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_every_colour_has_one_of_eleven_names(rgb: tuple[int, int, int]) -> None:
    assert len(COLOUR_NAMES) == 11
    assert colour_name(rgb) in COLOUR_NAMES
    assert 0 <= luminance(rgb) <= 255.001


def test_median_reads_the_mask_only() -> None:
    image = np.zeros((4, 5, 3), dtype=np.uint8)
    image[1, :] = (200, 10, 20)
    image[1, 0] = (0, 255, 0)  # one odd pixel does not matter
    mask = np.zeros((4, 5), dtype=bool)
    mask[1] = True
    assert median_rgb(image, mask) == (200, 10, 20)
    with pytest.raises(ValueError, match="empty mask"):
        median_rgb(image, np.zeros((4, 5), dtype=bool))
    with pytest.raises(ValueError, match="does not fit"):
        median_rgb(image, mask.T)


def test_luminance_orders_like_the_eye() -> None:
    assert luminance((0, 0, 0)) == 0
    assert (
        luminance((0, 0, 255)) < luminance((255, 0, 0)) < luminance((0, 255, 0)) < luminance((255, 255, 255))
    )
