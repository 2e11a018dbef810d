"""Drawing: the palette, outlines, labels, and text for terminals."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from segue.inference.visualize import (
    LARGEST_OVERLAY,
    PALETTE,
    Colour,
    Layer,
    colour,
    colour_numbers,
    coloured_text,
    draw_overlay,
    ink_on,
    outline,
    overlay_hw,
    printable,
)

# Linear-RGB simulations of full dichromacy (Machado, Oliveira and Fernandes 2009, severity 1).
NORMAL = np.eye(3)
PROTAN = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)
DEUTAN = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
)


def lab(rgb: Colour, view: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of an sRGB colour as an eye of this kind sees it."""
    values = np.array(rgb) / 255
    linear = np.clip(
        view @ np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4), 0, 1
    )
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.072175],
            [0.0193339, 0.119192, 0.9503041],
        ]
    )
    x, y, z = (
        v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116
        for v in to_xyz @ linear / (0.95047, 1, 1.08883)
    )
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def nearest(colours: tuple[Colour, ...], view: np.ndarray) -> float:
    return min(float(np.linalg.norm(lab(a, view) - lab(b, view))) for a, b in combinations(colours, 2))


def test_the_palette_is_large_and_easy_to_tell_apart() -> None:
    assert len(set(PALETTE)) == len(PALETTE) >= 16
    # A difference of about 2.3 is just noticeable side by side; ten times that is told apart across a
    # picture.
    assert nearest(PALETTE, NORMAL) > 20
    assert min(nearest(PALETTE[:8], PROTAN), nearest(PALETTE[:8], DEUTAN)) > 15


def test_the_palette_repeats() -> None:
    assert colour(0) == colour(len(PALETTE)) == PALETTE[0]


@pytest.mark.parametrize("background", PALETTE)
def test_labels_are_readable(background: Colour) -> None:
    def luminance(rgb: Colour) -> float:
        v = np.array(rgb) / 255
        return float(
            np.array([0.2126, 0.7152, 0.0722])
            @ np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
        )

    low, high = sorted((luminance(background), luminance(ink_on(background))))
    assert (high + 0.05) / (low + 0.05) >= 4.0


def test_masks_of_one_phrase_share_a_number() -> None:
    assert colour_numbers([(4, 11), (4, 11), (20, 24), (4, 11), (0, 2)]) == [0, 0, 1, 0, 2]


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)), st.integers(1, 4))
def test_an_outline_lies_in_the_mask_and_touches_every_border(mask: np.ndarray, width: int) -> None:
    line = outline(mask, width)
    assert not (line & ~mask).any()
    padded = np.pad(mask, 1)
    border = mask & ~(padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:])
    assert not (border & ~line).any()


def test_large_pictures_are_drawn_smaller() -> None:
    assert overlay_hw((2000, 2000)) == (2000, 2000)
    height, width = overlay_hw((3000, 6000))
    assert height * width <= LARGEST_OVERLAY
    assert width / height == pytest.approx(2.0, abs=0.01)
    assert overlay_hw((1, 10_000_000)) == (1, 6324555) or overlay_hw((1, 10_000_000))[0] == 1


def test_an_overlay_tints_the_mask_and_leaves_the_rest() -> None:
    picture = Image.new("RGB", (200, 120), (200, 200, 200))
    mask = np.zeros((120, 200), bool)
    mask[60:110, 20:90] = True
    drawn = np.asarray(draw_overlay(picture, [Layer(mask, "", PALETTE[0])]))
    expected = 200 * (1 - 0.42) + np.array(PALETTE[0]) * 0.42
    assert np.abs(drawn[85, 50].astype(float) - expected).max() <= 1
    assert tuple(drawn[60, 50]) == PALETTE[0]
    assert (drawn[20:50, 100:] == 200).all()


def test_labels_stay_inside_and_apart() -> None:
    picture = Image.new("RGB", (300, 200), (255, 255, 255))
    masks = []
    for left in (0, 10, 20):
        mask = np.zeros((200, 300), bool)
        mask[0:40, left : left + 60] = True
        masks.append(mask)
    layers = [Layer(m, f"red mug {k}", PALETTE[k]) for k, m in enumerate(masks)]
    drawn = np.asarray(draw_overlay(picture, layers))
    for layer in layers:
        # Each label is a filled box of the phrase's own colour, well beyond the thin outline.
        assert (drawn == layer.colour).all(axis=2).sum() > 400


def test_empty_and_tiny_pictures_are_drawn_too() -> None:
    picture = Image.new("RGB", (5, 3))
    empty, full = np.zeros((3, 5), bool), np.ones((3, 5), bool)
    drawn = draw_overlay(picture, [Layer(empty, "nothing", PALETTE[0]), Layer(full, "all", PALETTE[1])])
    assert drawn.size == (5, 3)


@dataclass
class Found:
    span: tuple[int, int]
    image_index: int
    score: float


def test_terminal_text_names_images_and_scores() -> None:
    groundings = [Found((4, 7), 0, 0.934), Found((4, 7), 2, 0.5), Found((12, 16), 1, 1.0)]
    written = coloured_text("the mug and lamp\x1b[2J.", groundings)
    assert written.plain == "the mug (image 1, 0.93; image 3, 0.50) and lamp (image 2, 1.00)\ufffd[2J."
    styles = {written.plain[s.start : s.end]: str(s.style) for s in written.spans}
    assert styles["mug"] == "bold rgb(239,71,58)"
    assert styles["lamp"] == "bold rgb(43,99,255)"


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b]0;x\x07\u202e\nb\tc \U0001f600") == "a\ufffd]0;x\ufffd\ufffd\nb\tc \U0001f600"
