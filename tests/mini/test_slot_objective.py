"""Stage "slots": cached features and slot targets of the same images, and a loss that falls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from segue.mini.pools import PhotoPool, ScenePool
from segue.mini.slot_objective import SlotObjective
from segue.training.engine.trainer import set_trainable

BANK = (torch.tensor([[20, 21, 0], [22, 23, 24]]), torch.tensor([[1, 1, 0], [1, 1, 1]]))


@pytest.fixture
def make(
    tiny: Callable[..., Any], scenes: ScenePool, photos: PhotoPool, tmp_path: Path
) -> Callable[..., Any]:
    def build(**options: Any) -> tuple[Any, SlotObjective]:
        model, _ = tiny()
        with_photos = options.pop("photos", photos)
        chosen = {"cache": tmp_path, "batch_size": 6, "photo_share": 0.5, "photo_views": 2} | options
        return model, SlotObjective(model, scenes, with_photos, BANK, **chosen)

    return build


def test_a_batch_depends_on_seed_and_step_alone(make: Any, same: Any) -> None:
    first, second = (make()[1] for _ in range(2))
    wanted = first.batch(3)
    for step in (5, 0):
        assert not same(second.batch(step), wanted)
    assert same(second.batch(3), wanted)
    assert not same(make(seed=1)[1].batch(3), wanted)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_features_and_targets_belong_together(make: Any, share: float) -> None:
    _, stage = make(photo_share=share)
    images, sources = stage.images, set()
    for step in range(4):
        batch = stage.batch(step)
        assert (
            len(batch["vision_features"])
            == len(batch["aux_features"])
            == len(batch["qformer_input_ids"])
            == 6
        )
        for k, feature in enumerate(batch["vision_features"]):
            views = [
                (s, v)
                for s, cached in images.features.items()
                for v in range(len(cached))
                if torch.equal(cached([v])["vision_features"][0], feature)
            ]
            assert len(views) == 1
            sources.add(views[0][0])
            right = images.slot_targets(*views[0])
            assert batch["slots"]["classes"][k].tolist() == right.classes.tolist()
            assert batch["slots"]["presence"][k].tolist() == right.presence.tolist()
    assert sources == {0.0: {"scenes"}, 0.5: {"scenes", "photos"}, 1.0: {"photos"}}[share]


def test_it_works_without_photographs(make: Any) -> None:
    model, stage = make(photos=None)
    loss, readings = stage.loss(model, stage.batch(0))
    assert loss > 0
    assert "presence" not in readings


def test_one_step_lowers_the_loss(make: Any, one_step: Any) -> None:
    before, after = one_step(*make())
    assert after < before


def test_towers_stay_frozen(make: Any) -> None:
    model, stage = make()
    names = set_trainable(model, stage.trainable)
    assert {n.split(".")[0] for n in names} == {"fusion", "reader", "slot_heads"}
    stage.loss(model, stage.batch(0))[0].backward()
    assert all(p.grad is None for n, p in model.named_parameters() if n not in names)
