"""The estimate counts what it says it counts, and the probe leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segue.training.engine.estimate import Estimate, estimate, saved_bytes


class Toy:
    """A square of a linear map; draws from the global generator as dropout would."""

    trainable = ("",)

    def __init__(self) -> None:
        self.asked: list[int] = []

    def batch(self, step: int) -> dict[str, Any]:
        self.asked.append(step)
        return {"x": torch.ones(5, 3)}

    def loss(self, model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        assert model.training
        torch.rand(1)
        return model(batch["x"]).sigmoid().sum(), {}


def test_parts_of_the_memory() -> None:
    model, toy = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).eval(), Toy()
    model[0].requires_grad_(False)
    model.register_buffer("constant", torch.zeros(7))
    found = estimate(model, toy, steps=50)
    assert toy.asked == [0, 1, 1]
    assert found.weights == 4 * (3 * 4 + 4 + 4 * 2 + 2 + 7)
    assert found.trained == 4 * 2 + 2
    assert found.gradients == 4 * 10
    assert found.optimiser == 2 * 4 * 10
    # Kept for backward: the second layer's input [5, 4] and the sigmoid's output [5, 2], float32; weights are
    # no activations.
    assert found.activations == 4 * (5 * 4 + 5 * 2)
    assert found.total == found.weights + found.gradients + found.optimiser + found.activations
    assert found.parameters == 3 * 4 + 4 + 4 * 2 + 2


def test_the_probe_leaves_no_trace(records_objective: Callable[..., Any]) -> None:
    model, objective = records_objective()
    model.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    found = estimate(model, objective, steps=10)
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert found.activations > 0
    assert 0 < found.seconds_a_step < 60


def test_more_examples_keep_more_activations(records_objective: Callable[..., Any]) -> None:
    small, large = (estimate(*records_objective(batch_size=n), steps=1).activations for n in (1, 6))
    assert large > 2 * small


def test_views_count_once() -> None:
    x = torch.ones(100, requires_grad=True)
    with saved_bytes(nn.Identity()) as counter:
        y = x * 2.0
        (y[:50] * y[50:]).sum()  # both halves are kept, and share one storage
    assert counter.bytes == 400


def test_lines_for_people() -> None:
    found = Estimate(
        weights=30 << 20, gradients=10 << 20, optimiser=20 << 20, activations=3 << 30, available=1 << 30,
        seconds_a_step=1.5, seconds_first=4.0, steps=400, trained=2_500_000, parameters=7_500_000,
        device="cpu",
    )  # fmt: skip
    first, memory, time, warning = found.lines()
    assert first == "trains 2.50 of 7.50 M parameters on cpu"
    assert memory.startswith("memory about 3.06 GiB: weights 30.0 MiB, gradients 10.0 MiB")
    assert time == "time about 10 min: 400 steps of 1.50 s (the first 4.00 s)"
    assert "only 1.00 GiB are free" in warning
    assert found.to_json()["total"] == pytest.approx(found.total)
