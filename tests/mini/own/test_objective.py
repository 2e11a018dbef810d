"""A step of both halves trains the branch and the language, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import segue
from segue.mini.own.family import own_objective
from segue.mini.own.objective import LOOK_TERMS, TALK_TERMS, OwnObjective
from segue.training.finetune.defaults import own_recipe
from segue.training.finetune.mixture import Mixture
from segue.training.finetune.sources import Sources


@pytest.fixture
def made(start: Path, source: Any, tmp_path: Path) -> tuple[Any, OwnObjective]:
    recipe = own_recipe(["options.batch_size=2", "options.masks=4", "options.conversations=2"])
    bundle = segue.load(start, device="cpu")
    sources = Sources(Mixture([source], None, 0), source, [], [], [])
    return bundle.model, own_objective(recipe, bundle, sources, tmp_path)


def test_both_halves_learn(made: tuple[Any, OwnObjective]) -> None:
    model, objective = made
    assert not any(name.startswith("seeing.eyes.branches.1") for name, _ in model.named_parameters())
    loss, readings = objective.loss(model, objective.batch(0))
    assert set(readings) >= LOOK_TERMS | TALK_TERMS
    loss.backward()
    moved = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any(name.startswith("seeing.eyes.branches.0.decoder") for name in moved)
    assert any(name.startswith("seeing.eyes.branches.0.readout") for name in moved)
    assert any(name.startswith("language_model") for name in moved)
    assert all(name.startswith(objective.trainable) for name in moved)


def test_a_batch_depends_on_its_step_alone(made: tuple[Any, OwnObjective]) -> None:
    _, objective = made
    first, _, again = (objective.batch(step) for step in (3, 4, 3))
    assert torch.equal(first["look"]["stride8"], again["look"]["stride8"])
    assert torch.equal(first["talk"]["input_ids"], again["talk"]["input_ids"])


def test_few_photographs_are_all_learned_from(made: tuple[Any, OwnObjective]) -> None:
    model, objective = made
    assert objective.look.held_back == 0
    assert all((chances > 0).all() for chances in objective.look.draw)
    before = model.seeing.eyes.presence.weights.clone()
    objective.settle(model)
    assert torch.equal(model.seeing.eyes.presence.weights, before)
