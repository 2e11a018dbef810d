"""Views: what the towers, the mask decoder and the slots are shown of an image is the same crop of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segue.mini.cached_images import CachedImages
from segue.mini.pools import PhotoPool, ScenePool
from segue.mini.slots import photo_targets, scene_targets
from segue.models.image_streams import normalise

VIEWS = 3


@pytest.fixture
def images(
    tiny: Callable[..., Any], scenes: ScenePool, photos: PhotoPool, tmp_path: Path
) -> tuple[Any, CachedImages]:
    model, _ = tiny()
    return model, CachedImages(model, scenes.subset(6), photos, cache=tmp_path, photo_views=VIEWS)


@torch.no_grad()
def test_features_are_those_of_the_pictures(images: tuple[Any, CachedImages]) -> None:
    model, found = images
    for source, picture, views in (
        ("scenes", found.scene_picture, [5, 0]),
        ("photos", found.photo_picture, [4, 11]),
    ):
        pixels = np.stack([picture(v) for v in views])
        assert pixels.shape == (2, 56, 56, 3)
        streams = {name: normalise(pixels, name) for name in ("pixel_values", "pixel_values_aux")}
        stored = found.features[source](views)
        for name, right in model.encode_features(**streams).items():
            torch.testing.assert_close(stored[name], right, atol=5e-3, rtol=5e-3)


@torch.no_grad()
def test_a_label_reader_sees_the_same_views_in_its_own_size(
    reading: Callable[..., Any], scenes: ScenePool, photos: PhotoPool, tmp_path: Path
) -> None:
    model, _ = reading()
    model.eval()
    found = CachedImages(model, scenes.subset(6), photos, cache=tmp_path, photo_views=VIEWS)
    for source, picture, view in (("scenes", found.scene_picture, 5), ("photos", found.photo_picture, 4)):
        pixels = picture(view, size=model.config.label_reader_size)
        assert pixels.shape == (64, 64, 3)
        right = model.label_reader(normalise(np.stack([pixels]), "pixel_values_labels"))
        stored = found.features[source]([view])["label_features"]
        torch.testing.assert_close(stored, right, atol=5e-3, rtol=5e-3)


def test_scenes_come_in_any_size(images: tuple[Any, CachedImages], scenes: ScenePool) -> None:
    _, found = images
    assert (found.scene_picture(2, 64) == scenes.images[2]).all()
    assert found.scene_picture(2, 48).shape == (48, 48, 3)


def test_crops_keep_their_labels(
    images: tuple[Any, CachedImages], photos: PhotoPool, label_inks: dict[str, tuple[int, int, int]]
) -> None:
    _, found = images
    moved = checked = 0
    for view in range(len(photos) * VIEWS):
        image, labels = found.photo_crop(view)
        whole = photos.images[view // VIEWS]
        if view % VIEWS == 0:
            np.testing.assert_array_equal(image, whole)
        moved += image.shape != whole.shape
        again, _ = found.photo_crop(view)
        np.testing.assert_array_equal(image, again)
        for name, ink in label_inks.items():
            mask = photos.mask(labels, name)
            checked += bool(mask.any())
            assert not mask.any() or (image[mask] == ink).all(), name
    assert moved >= 6
    assert checked > 20


def test_views_are_crops_of_the_right_photograph(images: tuple[Any, CachedImages]) -> None:
    _, found = images
    rng = np.random.default_rng(0)
    drawn = [found.views("photos", [2, 0], rng) for _ in range(40)]
    assert {tuple(v // VIEWS for v in views) for views in drawn} == {(2, 0)}
    assert {views[0] % VIEWS for views in drawn} == set(range(VIEWS))
    assert found.views("scenes", [4, 1], rng) == [4, 1]


def test_slots_are_those_of_the_image(
    images: tuple[Any, CachedImages], scenes: ScenePool, photos: PhotoPool
) -> None:
    _, found = images
    shown = found.slot_targets("scenes", 3)
    np.testing.assert_array_equal(shown.classes, scene_targets(scenes.objects[3], 1).classes)
    shown = found.slot_targets("photos", 2 * VIEWS + 1)
    np.testing.assert_array_equal(shown.presence, photo_targets(photos.records[2].facts, None, 1).presence)
