"""Memory by part and time of a run, measured on its own first steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segue.training.engine.trainer import Objective

ADAM_STATES = 2
"""Numbers that AdamW keeps for each that it trains."""


@dataclass(frozen=True)
class Estimate:
    """Findings of the probe, in bytes and seconds.

    Attributes:
        weights: All parameters and buffers.
        gradients: One per trained parameter.
        optimiser: AdamW's two states per trained parameter.
        activations: The most that a probed step kept for its backward pass.
        available: Free memory of the device when it is known.
        seconds_a_step: The faster of the probed steps after the first.
        seconds_first: The first step, which warms up and, with kept features, computes them.
        steps: Of the whole run.
        trained, parameters: Counts.
        device: Where it was measured.
    """

    weights: int
    gradients: int
    optimiser: int
    activations: int
    available: int | None
    seconds_a_step: float
    seconds_first: float
    steps: int
    trained: int
    parameters: int
    device: str

    @property
    def total(self) -> int:
        """Bytes of all four together."""
        return self.weights + self.gradients + self.optimiser + self.activations

    def lines(self) -> list[str]:
        """For people."""
        parts = ", ".join(
            f"{name} {_amount(getattr(self, name))}"
            for name in ("weights", "gradients", "optimiser", "activations")
        )
        said = [
            f"trains {self.trained / 1e6:,.2f} of {self.parameters / 1e6:,.2f} M parameters on {self.device}",
            f"memory about {_amount(self.total)}: {parts}",
            f"time about {_duration(self.seconds_a_step * self.steps)}: {self.steps:,} steps of "
            f"{self.seconds_a_step:.2f} s (the first {self.seconds_first:.2f} s)",
        ]
        # Weights are on the GPU by now, and what is free there is without them.
        needed = self.total - (self.weights if self.device != "cpu" else 0)
        if self.available is not None and needed > self.available:
            said.append(f"warning: only {_amount(self.available)} are free; lower options.batch_size")
        return said

    def to_json(self) -> dict[str, Any]:
        """For estimate.json."""
        return asdict(self) | {"total": self.total}


def estimate(model: nn.Module, objective: Objective, steps: int) -> Estimate:
    """Run the first two steps forward and backward, the second one twice; nothing of the model changes.

    Args:
        model: On its device, with `requires_grad` set.
        objective: Its batches 0 and 1 are computed; with kept features this fills the first files.
        steps: Of the whole run.
    """
    device = next(model.parameters()).device
    trained = [p for p in model.parameters() if p.requires_grad]
    kept, seconds = [], []
    training = model.training
    model.train()
    try:
        # What is drawn here must not move the draws of the run.
        with torch.random.fork_rng():
            # The first warms up and fills kept features; of two equal ones the faster was disturbed less.
            for step in (0, 1, 1):
                started = time.perf_counter()
                batch = moved(objective.batch(step), device)
                with saved_bytes(model) as counter:
                    loss, _ = objective.loss(model, batch)
                    kept.append(counter.bytes)
                loss.backward()
                if device.type == "cuda":
                    # CUDA answers before it has computed.
                    torch.cuda.synchronize(device)
                model.zero_grad(set_to_none=True)
                seconds.append(time.perf_counter() - started)
    finally:
        model.train(training)
    return Estimate(
        weights=sum(t.nbytes for t in (*model.parameters(), *model.buffers())),
        gradients=sum(p.nbytes for p in trained),
        optimiser=ADAM_STATES * sum(p.nbytes for p in trained),
        activations=max(kept),
        available=free_memory(device),
        seconds_a_step=min(seconds[1:]),
        seconds_first=seconds[0],
        steps=steps,
        trained=sum(p.numel() for p in trained),
        parameters=sum(p.numel() for p in model.parameters()),
        device=device.type,
    )


class SavedBytes:
    """Counts the storages that autograd keeps for the backward pass, each once, parameters left out."""

    def __init__(self, known: set[int]) -> None:
        self._known = known
        self.bytes = 0

    def keep(self, tensor: Tensor) -> Tensor:
        """Count a tensor that is saved; views share their storage."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._known:
            self._known.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor


@contextmanager
def saved_bytes(model: nn.Module) -> Iterator[SavedBytes]:
    """Count what the forward pass inside keeps. Storages stay alive until backward, so none counts twice."""
    known = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    counter = SavedBytes(known)
    with torch.autograd.graph.saved_tensors_hooks(counter.keep, lambda tensor: tensor):
        yield counter


def moved(value: Any, device: torch.device) -> Any:
    """A batch on a device, through nested mappings and lists."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: moved(item, device) for name, item in value.items()}
    if isinstance(value, list):
        return [moved(item, device) for item in value]
    return value


def free_memory(device: torch.device) -> int | None:
    """Free bytes of the device; of the machine for the CPU, None where it does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                # Told in KiB.
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _amount(count: int) -> str:
    return f"{count / 2**30:,.2f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
