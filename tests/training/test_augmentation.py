"""Augmentations change pictures and keep labels where they belong."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from segue.models.image_streams import IMAGENET_MEAN, normalise
from segue.models.processing_grounded import ImageStream
from segue.training.augmentation import (
    flip,
    jitter,
    pad_square,
    permute_channels,
    random_crop,
    resize_pair,
    tint,
    warp,
)


def picture(height: int = 20, width: int = 30, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_jitter_is_one_gain_and_one_offset() -> None:
    image = np.full((4, 4, 3), 100, np.uint8)
    image[0] = 50
    for seed in range(20):
        found = jitter(image, np.random.default_rng(seed), 0.12).astype(int)
        assert len(np.unique(found)) == 2
        assert 50 * 0.87 <= found[1, 0, 0] - found[0, 0, 0] <= 50 * 1.13
        assert abs(found[1, 0, 0] - 100) <= 0.12 * 100 + 255 * 0.06 + 1
    assert (jitter(image, np.random.default_rng(0), 0.0) == image).all()
    assert jitter(picture(), np.random.default_rng(1), 0.9).dtype == np.uint8


def test_permuted_channels_are_another_order() -> None:
    image = picture()
    orders = set()
    for seed in range(40):
        found = permute_channels(image, np.random.default_rng(seed))
        order = tuple(next(c for c in range(3) if (found[..., k] == image[..., c]).all()) for k in range(3))
        orders.add(order)
    assert len(orders) == 5
    assert (0, 1, 2) not in orders


def test_flip_mirrors_every_array() -> None:
    image, labels = picture(), picture()[..., 0]
    mirrored, mirrored_labels = flip(image, labels)
    assert (mirrored[:, 0] == image[:, -1]).all()
    assert (mirrored_labels[:, ::-1] == labels).all()
    assert mirrored.flags["C_CONTIGUOUS"]


def test_crops_take_the_same_window_of_both() -> None:
    labels = np.arange(20 * 12, dtype=np.uint8).reshape(20, 12)
    image = np.repeat(labels[..., None], 3, axis=2)
    shapes = set()
    for seed in range(30):
        window, cut = random_crop(image, labels, np.random.default_rng(seed), least=0.7)
        assert (window[..., 0] == cut).all()
        assert 14 <= cut.shape[0] <= 20
        assert 8 <= cut.shape[1] <= 12
        shapes.add(cut.shape)
    assert len(shapes) > 10


def test_labels_are_resized_without_new_values() -> None:
    labels = np.zeros((20, 30), np.uint8)
    labels[5:, 10:] = 7
    image, resized = resize_pair(picture(), labels, (50, 40))
    assert image.shape == (50, 40, 3)
    assert set(np.unique(resized)) == {0, 7}
    assert (resized == np.asarray(Image.fromarray(labels).resize((40, 50), Image.Resampling.NEAREST))).all()


def test_padding_is_what_the_processor_makes_of_it() -> None:
    image = picture(24, 16)
    stream = ImageStream(24, "pad", tuple(IMAGENET_MEAN), (0.229, 0.224, 0.225))
    expected = stream(Image.fromarray(image))
    found = normalise(pad_square(image, 24)[None], "pixel_values_sam")[0]
    assert np.abs((found - expected).numpy()).max() <= 0.5 / 255 / 0.224 + 1e-5  # the mean colour is rounded
    assert np.abs((found - expected)[:, :, :16].numpy()).max() < 1e-5


@pytest.mark.parametrize("shape", [(5, 8), (8, 3)])
def test_labels_are_padded_with_nothing(shape: tuple[int, int]) -> None:
    square = pad_square(np.full(shape, 9, np.uint8), 8)
    assert square.shape == (8, 8)
    assert square.sum() == 9 * shape[0] * shape[1]
    assert (square[: shape[0], : shape[1]] == 9).all()


def test_warped_labels_stay_on_their_pixels() -> None:
    labels = np.zeros((120, 80), np.uint8)
    labels[30:70, 20:60] = 3
    image = np.full((120, 80, 3), 30, np.uint8)
    image[labels == 3] = 220
    areas, sides = [], set()
    image[30:70, 20:40, 2] = 120
    for seed in range(30):
        seen, where = warp(image, labels, 60, np.random.default_rng(seed))
        assert seen.shape == (60, 60, 3)
        assert set(np.unique(where)) <= {0, 3}
        inside = where == 3
        if inside.sum() > 50:
            assert np.median(seen[inside][:, 0]) > 200
            blue = np.nonzero((seen[..., 2] < 160) & (seen[..., 0] > 190))[1]
            sides.add(bool(blue.mean() < np.nonzero(inside)[1].mean()))
        areas.append(inside.mean())
    assert sides == {True, False}, "some are mirrored"
    assert max(areas) > 2 * min(areas), "some are nearer"


def test_beyond_a_warped_photograph_is_the_mean_colour_and_no_label() -> None:
    image, labels = np.zeros((50, 50, 3), np.uint8), np.full((50, 50), 5, np.uint8)
    empty = 0
    for seed in range(20):
        seen, where = warp(image, labels, 40, np.random.default_rng(seed))
        outside = (seen == np.round(255 * np.array(IMAGENET_MEAN))).all(-1)
        assert (where[outside] == 0).all()
        empty += int(outside.any())
    assert empty > 5


def test_a_tint_changes_the_mask_alone_and_keeps_its_texture() -> None:
    image = np.random.default_rng(0).integers(60, 200, (20, 30, 3), dtype=np.uint8)
    mask = np.zeros((20, 30), bool)
    mask[5:15, 4:20] = True
    before = image.copy()
    tinted = tint(image, mask, np.random.default_rng(1))
    assert np.array_equal(image, before), "the picture itself is left alone"
    assert np.array_equal(tinted[~mask], image[~mask])
    assert not np.array_equal(tinted[mask], image[mask])
    again = tint(image, mask, np.random.default_rng(1))
    assert np.array_equal(tinted, again)
    for channel in range(3):
        follows = [abs(np.corrcoef(tinted[mask][:, channel], image[mask][:, c])[0, 1]) for c in range(3)]
        assert max(follows) > 0.95, "each channel is one of the old ones, lighter or darker"
    assert np.array_equal(tint(image, np.zeros_like(mask), np.random.default_rng(1)), image)
