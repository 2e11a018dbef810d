"""Stage "masks": batches by (seed, step), masks in place, and a loss that falls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from segue.mini.mask_objective import MaskObjective
from segue.mini.phrase_codes import phrase_code
from segue.mini.pools import PhotoPool, ScenePool
from segue.mini.vocabulary import NOTHING
from segue.models.losses import bce_loss, dice_loss
from segue.models.segmenter import MaskPrompts

Tiny = Callable[..., Any]


def objective(
    tiny: Tiny, scenes: ScenePool, photos: PhotoPool | None, **options: Any
) -> tuple[Any, MaskObjective]:
    model, _ = tiny()
    return model, MaskObjective(
        model, scenes, photos, **({"batch_size": 3, "prompts": 2, "photo_share": 0.5} | options)
    )


def test_a_batch_depends_on_seed_and_step_alone(
    tiny: Tiny, scenes: ScenePool, photos: PhotoPool, same: Any
) -> None:
    first, second = (objective(tiny, scenes, photos)[1] for _ in range(2))
    wanted = first.batch(3)
    for step in (5, 0):
        assert not same(second.batch(step), wanted)
    assert same(second.batch(3), wanted)
    assert not same(objective(tiny, scenes, photos, seed=1)[1].batch(3), wanted)


def test_shapes(tiny: Tiny, scenes: ScenePool, photos: PhotoPool) -> None:
    batch = objective(tiny, scenes, photos)[1].batch(0)
    assert batch["pixels"].shape == (3, 3, 48, 48)
    assert batch["codes"].shape == (6, 16)
    assert batch["masks"].shape == (6, 16, 16)
    assert batch["masks"].min() >= 0
    assert batch["masks"].max() <= 1


def test_regions_of_scenes_are_its_objects_and_parts(tiny: Tiny, scenes: ScenePool) -> None:
    stage = objective(tiny, scenes, None)[1]
    for seed in range(12):
        image, regions, inside, _ = stage.scene(np.random.default_rng(seed))
        assert (image.shape, inside) == ((48, 48, 3), (48, 48))
        phrases = [phrase for phrase, _ in regions]
        owner, others = phrases[0], [p for p in phrases[1:] if p.startswith(f"{phrases[0]}'")]
        whole = regions[0][1]
        for phrase, mask in regions:
            assert mask.shape == (48, 48)
            if phrase in others:
                assert not (mask & ~whole).any(), f"{phrase} must lie in {owner}"


def test_masks_of_scenes_are_mirrored_with_their_picture(
    tiny: Tiny, scenes: ScenePool, mirrored: Any
) -> None:
    stage, ways = objective(tiny, scenes, None)[1], set()
    for seed in range(12):
        image, regions, _, (classes, _, _) = stage.scene(np.random.default_rng(seed))
        index = int(np.random.default_rng(seed).integers(len(scenes)))
        way, labels = mirrored(image, index)
        ways.add(way)
        np.testing.assert_array_equal(regions[0][1], labels == 1)
        np.testing.assert_array_equal(classes != NOTHING, labels > 0)
    assert ways == {True, False}


def test_masks_of_photographs_follow_crop_and_mirror(
    tiny: Tiny, scenes: ScenePool, photos: PhotoPool, label_inks: dict[str, tuple[int, int, int]]
) -> None:
    stage = objective(tiny, scenes, photos)[1]
    seen = 0
    for seed in range(12):
        image, regions, inside, _ = stage.photo(np.random.default_rng(seed))
        assert max(inside) == 48
        names = [name for name, _ in regions]
        assert names[0] == "person"
        for name, mask in regions:
            assert not mask[inside[0] :].any()
            assert not mask[:, inside[1] :].any()
            if name != "person" and mask.sum() > 30:
                median = np.median(image[mask], axis=0)
                assert np.abs(median - label_inks[name]).max() < 40, name
                seen += 1
    assert seen > 15


def test_codes_and_masks_belong_together(tiny: Tiny, scenes: ScenePool) -> None:
    stage = objective(tiny, scenes, None, batch_size=1, prompts=40)[1]
    batch = stage.batch(0)
    rng = np.random.default_rng([0, 0, 1])
    rng.random()
    _, regions, _, _ = stage.scene(rng)
    areas = {phrase_code(phrase, 16).tobytes(): mask.mean() for phrase, mask in regions}
    for code, mask in zip(batch["codes"], batch["masks"], strict=True):
        assert float(mask.mean()) == pytest.approx(areas[code.numpy().tobytes()], abs=1e-3)


def test_the_loss_by_hand(tiny: Tiny, scenes: ScenePool, photos: PhotoPool) -> None:
    model, stage = objective(tiny, scenes, photos, dense=0.0)
    batch = stage.batch(0)
    with torch.no_grad():
        loss, readings = stage.loss(model, batch)
        asked = MaskPrompts(batch["codes"], torch.tensor([0, 0, 1, 1, 2, 2]))
        logits = model.segmenter.decode(model.segmenter.encode(batch["pixels"]), asked)
    dice, bce = dice_loss(logits, batch["masks"]).mean(), bce_loss(logits, batch["masks"]).mean()
    torch.testing.assert_close(loss, dice + 4 * bce)
    assert readings["dice"] == pytest.approx(float(dice))
    assert 0 <= readings["iou"] <= 1


def test_one_step_lowers_the_loss(tiny: Tiny, scenes: ScenePool, photos: PhotoPool, one_step: Any) -> None:
    before, after = one_step(*objective(tiny, scenes, photos))
    assert after < before


def test_only_sam_is_trained(tiny: Tiny, scenes: ScenePool) -> None:
    from segue.training.engine.trainer import set_trainable

    model, stage = objective(tiny, scenes, None)
    names = set_trainable(model, stage.trainable)
    assert {n.split(".")[0] for n in names} == {"sam", "training_heads"}
    stage.loss(model, stage.batch(0))[0].backward()
    dead = [n for n in names if model.get_parameter(n).grad is None]
    several = ("sam.mask_decoder.iou_prediction_head", "sam.mask_decoder.output_hypernetworks_mlps.1")
    assert [n for n in dead if not n.startswith(several)] == []
