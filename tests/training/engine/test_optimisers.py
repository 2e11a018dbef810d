"""Muon's update is orthogonal, the split is what the recipe says, and the state survives."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from segue.training.engine.optimisers import Muon, MuonAdamW, is_matrix, orthogonalise, parameter_groups


@pytest.mark.parametrize("shape", [(3, 16, 48), (2, 48, 16), (1, 12, 12)])
def test_orthogonalised_matrices_keep_directions_and_lose_lengths(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 7
    found = orthogonalise(matrices, steps=10)
    assert found.shape == shape
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    nearest = left @ right
    cosine = (found * nearest).sum((1, 2)) / found.norm(dim=(1, 2)) / nearest.norm(dim=(1, 2))
    assert cosine.min() > 0.95
    torch.testing.assert_close(orthogonalise(matrices[:1], steps=10), found[:1], atol=1e-4, rtol=1e-3)


def test_one_step_of_muon_by_hand() -> None:
    start = torch.randn(6, 12, generator=torch.Generator().manual_seed(2))
    gradient = torch.randn(6, 12, generator=torch.Generator().manual_seed(3))
    parameter = nn.Parameter(start.clone())
    parameter.grad = gradient
    Muon([{"params": [parameter], "lr": 0.1, "weight_decay": 0.5}], momentum=0.9).step()
    # The buffer is 0.1 g; the Nesterov direction 0.1 g + 0.9 * 0.1 g is parallel to g.
    expected = start * (1 - 0.1 * 0.5) - 0.1 * orthogonalise(gradient[None])[0]
    torch.testing.assert_close(parameter.detach(), expected, atol=1e-5, rtol=1e-4)


def test_tables_and_readouts_are_no_matrices(tiny: Callable[..., Any]) -> None:
    model, _ = tiny()
    chosen = {n for n, p in model.named_parameters() if is_matrix(n, p)}
    assert "language_model.model.layers.0.mlp.gate_proj.weight" in chosen
    assert "aux_vision_model.encoder.layer.0.attention.q_proj.weight" in chosen
    assert all(model.get_parameter(n).ndim == 2 for n in chosen)
    assert not any("embed" in n or "heads" in n or "query_tokens" in n for n in chosen)


def test_every_trainable_parameter_is_in_exactly_one_group(tiny: Callable[..., Any]) -> None:
    model, _ = tiny()
    model.vision_model.requires_grad_(False)
    slow = {"reader": 0.5}
    parts = ("language_model", "reader")
    groups = {
        m: parameter_groups(model, slow, rate=0.1, decay=0.3, matrices=m, muon_parts=parts)
        for m in (True, False)
    }
    where = {
        id(p): (m, g["lr"], g["weight_decay"]) for m, gs in groups.items() for g in gs for p in g["params"]
    }
    assert sum(len(g["params"]) for gs in groups.values() for g in gs) == len(where)
    for name, parameter in model.named_parameters():
        if name.startswith("vision_model"):
            assert id(parameter) not in where
            continue
        matrix = is_matrix(name, parameter) and name.startswith(parts)
        rate = 0.05 if name.startswith("reader") else 0.1
        assert where[id(parameter)] == (matrix, rate, 0.3 if parameter.ndim > 1 else 0.0), name


def quadratic(seed: int = 0) -> tuple[nn.Module, MuonAdamW]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(12, 16), nn.Linear(16, 10))
    groups = [parameter_groups(model, {}, rate=0.02, decay=0.0, matrices=m) for m in (True, False)]
    return model, MuonAdamW(groups[0], groups[1], (0.9, 0.95))


def steps(model: nn.Module, optimiser: MuonAdamW, number: int) -> list[float]:
    inputs, losses = torch.randn(32, 12, generator=torch.Generator().manual_seed(4)), []
    for _ in range(number):
        loss = (model(inputs) - inputs[:, :10]).pow(2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


def test_both_halves_learn_and_follow_a_schedule() -> None:
    model, optimiser = quadratic()
    losses = steps(model, optimiser, 40)
    assert losses[-1] < losses[0] / 4
    torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.0)
    before = [p.clone() for p in model.parameters()]
    steps(model, optimiser, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)), (
        "a rate of 0 moves nothing"
    )


def test_the_state_goes_on_where_it_was() -> None:
    model, optimiser = quadratic()
    steps(model, optimiser, 3)
    weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimiser.state_dict())
    other, resumed = quadratic(seed=1)
    other.load_state_dict(weights)
    resumed.load_state_dict(state)
    expected = steps(model, optimiser, 4)
    assert steps(other, resumed, 4) == expected
    forgetful, fresh = quadratic(seed=1)
    forgetful.load_state_dict(weights)
    assert steps(forgetful, fresh, 4)[1:] != expected[1:]
