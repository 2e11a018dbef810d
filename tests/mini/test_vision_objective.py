"""Stage "vision": batches by (seed, step), labels that follow the pixels, and a loss that falls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from segue.mini.pools import PhotoPool, ScenePool
from segue.mini.vision_objective import VisionObjective
from segue.mini.vocabulary import CLASS_INDEX, IGNORED, NOTHING
from segue.training.engine.trainer import set_trainable

Tiny = Callable[..., Any]
BANK = (torch.tensor([[20, 21, 0], [22, 23, 24]]), torch.tensor([[1, 1, 0], [1, 1, 1]]))


def objective(
    tiny: Tiny, scenes: ScenePool, photos: PhotoPool | None, **options: Any
) -> tuple[Any, VisionObjective]:
    model, _ = tiny()
    return model, VisionObjective(
        model, scenes, photos, BANK, **({"batch_size": 3, "photo_share": 0.5} | options)
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


def test_labels_of_scenes_follow_their_pixels(tiny: Tiny, scenes: ScenePool) -> None:
    stage = objective(tiny, scenes, None)[1]
    for seed in range(10):
        image, (classes, colours, _), target = stage.scene(np.random.default_rng(seed))
        assert image.shape == (56, 56, 3)
        shown = [c for c in target.classes.tolist() if c != NOTHING]
        for slot, kind in enumerate(shown):
            where = np.argwhere(classes == kind)
            assert len(where)
            if shown.count(kind) == 1 and np.count_nonzero(np.unique(classes) == kind) == 1:
                colour = int(target.colours[slot])
                box = (where.min(0) + where.max(0) + 1) / 2 / 56
                if len(np.unique(colours[classes == kind])) == 1:
                    assert (colours[classes == kind] == colour).all()
                    assert np.abs(box[::-1] - target.geometry[slot, :2]).max() < 0.06, "mirrored or not"


def test_labels_of_scenes_are_mirrored_with_their_picture(
    tiny: Tiny, scenes: ScenePool, mirrored: Any
) -> None:
    stage, ways = objective(tiny, scenes, None)[1], set()
    for seed in range(12):
        image, (classes, _, _), target = stage.scene(np.random.default_rng(seed))
        index = int(np.random.default_rng(seed).integers(len(scenes)))
        way, labels = mirrored(image, index)
        ways.add(way)
        np.testing.assert_array_equal(classes != NOTHING, labels > 0)
        first = scenes.objects[index][-1 if way else 0]
        assert target.classes[0] == CLASS_INDEX[first.kind]
    assert ways == {True, False}


def test_labels_of_photographs_follow_their_pixels(
    tiny: Tiny, scenes: ScenePool, photos: PhotoPool, label_inks: dict[str, tuple[int, int, int]]
) -> None:
    stage = objective(tiny, scenes, photos)[1]
    seen = 0
    for seed in range(12):
        image, (classes, _, _), target = stage.photo(np.random.default_rng(seed))
        assert set(target.classes.tolist()) == {IGNORED}
        for name, ink in label_inks.items():
            mask = classes == CLASS_INDEX[name]
            if mask.sum() > 30:
                assert np.abs(np.median(image[mask], axis=0) - ink).max() < 40, name
                seen += 1
    assert seen > 15


def test_recoloured_pictures_name_no_colour(tiny: Tiny, scenes: ScenePool) -> None:
    everything = objective(tiny, scenes, None, recolour=1.0)[1].batch(0)
    assert bool((everything["dense"][:, 1] == IGNORED).all())
    assert bool((everything["slots"]["colours"] == IGNORED).all())
    nothing = objective(tiny, scenes, None, recolour=0.0)[1].batch(0)
    assert bool((nothing["dense"][:, 1] != IGNORED).any())
    assert bool((nothing["dense"][:, 0] != NOTHING).any())


def test_instructions_come_from_the_bank(tiny: Tiny, scenes: ScenePool) -> None:
    batch = objective(tiny, scenes, None, batch_size=8)[1].batch(0)
    rows = {tuple(r) for r in batch["qformer_input_ids"].tolist()}
    assert rows == {tuple(r) for r in BANK[0].tolist()}
    for ids, mask in zip(batch["qformer_input_ids"], batch["qformer_attention_mask"], strict=True):
        assert torch.equal(ids != 0, mask.bool())


def test_one_step_lowers_the_loss(tiny: Tiny, scenes: ScenePool, photos: PhotoPool, one_step: Any) -> None:
    before, after = one_step(*objective(tiny, scenes, photos))
    assert after < before


def test_towers_fusion_reader_and_slots_are_trained(tiny: Tiny, scenes: ScenePool, photos: PhotoPool) -> None:
    model, stage = objective(tiny, scenes, photos, recolour=0.0, batch_size=6)
    names = set_trainable(model, stage.trainable)
    assert {n.split(".")[0] for n in names} == {
        "vision_model",
        "aux_vision_model",
        "fusion",
        "reader",
        "slot_heads",
        "training_heads",
    }
    stage.loss(model, stage.batch(0))[0].backward()
    dead = [n for n in names if model.get_parameter(n).grad is None]
    waits = (
        "aux_vision_model.embeddings.mask_token",
        "reader.qformer",
        "slot_heads.relevance",
        "slot_heads.mark",
    )
    assert all(n.startswith(waits) for n in dead), dead
