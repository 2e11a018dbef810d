"""What every patch shows: label maps against the scene's own masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from segue.mini.dense_labels import centres, cross_entropy, photo_maps, scene_maps
from segue.mini.pools import PhotoPool, ScenePool
from segue.mini.vocabulary import (
    CLASS_INDEX,
    COLOUR_INDEX,
    IGNORED,
    NOTHING,
    PART_INDEX,
    PARTS,
    PHOTO_LABELS,
)


def test_maps_of_a_scene_agree_with_its_masks(scenes: ScenePool) -> None:
    for i, things in enumerate(scenes.objects):
        classes, colours, parts = scene_maps(things, scenes.object_maps[i], scenes.part_maps[i])
        covered = np.zeros(classes.shape, bool)
        for k, thing in enumerate(things):
            whole = scenes.mask(i, k, None)
            covered |= whole
            assert (classes[whole] == CLASS_INDEX[thing.kind]).all()
            assert (colours[whole] == COLOUR_INDEX[thing.colour]).all()
            for part in thing.parts:
                assert (parts[scenes.mask(i, k, part)] == PART_INDEX[f"{thing.kind}:{part}"]).all()
        assert (classes[~covered] == NOTHING).all()
        assert (colours[~covered] == IGNORED).all()
        assert (parts[~covered] == len(PARTS)).all()


def test_maps_of_a_photograph(photos: PhotoPool) -> None:
    record, labels = photos.records[0], photos.label_maps[0]
    classes, colours, parts = photo_maps(record.facts, labels)
    trousers = record.mask("trousers")
    assert (classes[trousers] == CLASS_INDEX["trousers"]).all()
    assert (colours[trousers] == COLOUR_INDEX["blue"]).all()
    assert (classes[labels == 0] == NOTHING).all()
    assert (parts == len(PARTS)).all()
    person = PHOTO_LABELS.index("person") + 1
    assert (colours[labels == person] == IGNORED).all()


def test_centres_pick_the_middle_of_every_cell() -> None:
    maps = torch.arange(3 * 8 * 8).reshape(1, 3, 8, 8)
    found = centres(maps, 2)
    assert found.shape == (1, 3, 4)
    assert found[0, 0].tolist() == [2 * 8 + 2, 2 * 8 + 6, 6 * 8 + 2, 6 * 8 + 6]
    assert torch.equal(centres(maps, 8), maps.flatten(2))


def test_cross_entropy_leaves_out_what_does_not_apply() -> None:
    logits = torch.zeros(1, 2, 4)
    logits[0, 0, 3] = 100
    assert cross_entropy(logits, torch.tensor([[3, IGNORED]])).item() == pytest.approx(0)
    assert cross_entropy(logits, torch.tensor([[IGNORED, 1]])).item() == pytest.approx(math.log(4))
    assert cross_entropy(logits, torch.full((1, 2), IGNORED)).item() == 0
