"""The tables of kinds, colours and held-out pairs agree with each other and with the drawings."""

from __future__ import annotations

import colorsys
from collections import Counter

import numpy as np
import pytest

import segue.scenes as scenes
from segue.scenes.drawing import DRAWINGS
from segue.scenes.kinds import (
    COLOURS,
    HELD_OUT,
    KINDS,
    SHARED,
    Scene,
    SceneObject,
    possessive,
    visible_part_pixels,
)
from segue.scenes.paint import shade_of
from segue.scenes.shapes import EDGE_PAINTS, Pen


def test_there_are_eighteen_kinds_of_two_to_five_parts() -> None:
    assert len(KINDS) == 18
    for name, kind in KINDS.items():
        assert kind.name == name
        assert 2 <= len(kind.parts) <= 5
        assert len(set(kind.parts)) == len(kind.parts)


def test_each_purpose_belongs_to_one_kind_and_each_part_purpose_to_one_part() -> None:
    purposes = Counter(purpose for kind in KINDS.values() for purpose in kind.purposes)
    assert {purpose for purpose, n in purposes.items() if n > 1} == set()
    assert not set(SHARED) & set(purposes)
    for kinds in SHARED.values():
        assert len(kinds) >= 2
        assert set(kinds) <= set(KINDS)
    for kind in KINDS.values():
        assert len(kind.purposes) >= 2
        assert tuple(kind.part_purposes) == kind.parts
        inside = [purpose for part in kind.parts for purpose in kind.part_purposes[part]]
        assert len(set(inside)) == len(inside)


def test_held_out_pairs_are_one_per_kind_and_two_per_colour() -> None:
    assert sorted(kind for _, kind in HELD_OUT) == sorted(KINDS)
    assert Counter(colour for colour, _ in HELD_OUT) == dict.fromkeys(COLOURS, 2)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_drawing_shows_every_part_and_leaves_room_for_the_edge_paints(name: str) -> None:
    for seed in range(5):
        pen = Pen(KINDS[name].parts, np.random.default_rng(seed), "brown")
        DRAWINGS[name](pen)
        assert {part for part, _ in pen.paints} == set(range(1, len(KINDS[name].parts) + 1))
        assert max(pen.paints.values()) < EDGE_PAINTS
        points = np.concatenate([shape for _, shape in pen.shapes])
        assert np.isfinite(points).all()
        assert np.abs(points).max() < 1.5


def test_the_bands_of_the_colours_keep_their_distance() -> None:
    rng = np.random.default_rng(0)
    shades = {name: np.array([shade_of(name, rng) for _ in range(100)]) for name in COLOURS}
    for name, samples in shades.items():
        assert np.linalg.norm(samples - COLOURS[name], axis=1).max() < 90
        for other, others in shades.items():
            if other != name:
                gaps = np.linalg.norm(samples[:, None] - others[None], axis=2)
                assert gaps.min() > 50, (name, other)
    browns = [colorsys.rgb_to_hsv(*(c / 255 for c in rgb)) for rgb in shades["brown"]]
    assert max(value for _, _, value in browns) < 0.5


def test_phrases() -> None:
    mug = SceneObject("mug", "red", ("body",), {"body": 0.1}, (0.5, 0.5), (0.4, 0.4, 0.2, 0.2), 0.1)
    assert mug.phrase == "red mug"
    assert mug.part_phrase("handle") == "red mug's handle"
    assert possessive("green scissors") == "green scissors'"


def test_scene_mask_selects_object_and_part() -> None:
    mug = SceneObject("mug", "red", ("body", "handle"), {}, (0.5, 0.5), (0.0, 0.0, 1.0, 1.0), 0.5)
    object_map = np.array([[0, 1], [1, 2]], np.uint8)
    part_map = np.array([[0, 1], [2, 2]], np.uint8)
    scene = Scene(np.zeros((2, 2, 3), np.uint8), object_map, part_map, (mug, mug))
    assert scene.mask(0).tolist() == [[False, True], [True, False]]
    assert scene.mask(0, "handle").tolist() == [[False, False], [True, False]]
    assert scene.mask(1, "handle").tolist() == [[False, False], [False, True]]
    with pytest.raises(ValueError, match="not in tuple"):
        scene.mask(0, "wing")
    with pytest.raises(IndexError):
        scene.mask(2)


def test_the_least_visible_part_scales_with_the_area() -> None:
    assert visible_part_pixels(224) == 48
    assert visible_part_pixels(448) == 4 * visible_part_pixels(224)


def test_the_package_exports_lazily_and_refuses_unknown_names() -> None:
    assert scenes.KINDS is KINDS
    with pytest.raises(AttributeError, match="no attribute 'teacup'"):
        _ = scenes.teacup
