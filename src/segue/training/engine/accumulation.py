"""A step's batch in parts: which examples each process takes in one go, and sums over all of them.

The recipe says the batch of a step. Processes and gradient accumulation only divide it, so the same recipe
gives the same loss curve on one process and on many, up to the order in which floats are added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
import torch.distributed as dist
from torch import Tensor

from segue.errors import InputError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Share:
    """Examples `part`, `part + parts`, `part + 2 parts`, ... of a batch.

    With batches sorted by length, as the objectives draw them, every part gets short and long ones.

    Attributes:
        part: 0-based; of process r in the a-th accumulated round of R processes it is `a * R + r`.
        parts: processes times rounds.
    """

    part: int = 0
    parts: int = 1

    def of(self, examples: Sequence[Item]) -> list[Item]:
        """The examples of this share; the shares of all parts together are the batch."""
        # 8 examples in 4 parts: part 1 has those at 1 and 5.
        return list(examples[self.part :: self.parts])


WHOLE = Share()


@runtime_checkable
class Divisible(Protocol):
    """An objective whose batches can be divided.

    Every term of its loss is a sum over something countable (targets, masks) divided by a count. `loss` of a
    share with the counts of the whole step gives the share's summand, and the summands add up to the loss of
    the whole batch: a mean over all tokens and masks, never a mean of means.
    """

    batch_size: int
    loss_terms: frozenset[str]
    """Readings that are terms of the loss: those of a step's shares add up, others are averaged."""

    def share(self, step: int, share: Share) -> dict[str, Any]:
        """The share of a step's batch; `share(step, WHOLE)` is `batch(step)`."""

    def counts(self, batch: dict[str, Any]) -> dict[str, float]:
        """Counts that the terms divide by, for one share; the same names for every batch."""

    def loss(
        self, model: Any, batch: dict[str, Any], totals: dict[str, float] | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Loss and readings, divided by `totals` in place of the share's own counts."""


def check_divisible(objective: Any, parts: int, stage: str) -> None:
    """Refuse to divide what cannot be.

    Raises:
        InputError: the stage's batches cannot be divided, or have fewer examples than there are parts.
    """
    if parts == 1:
        return
    if not isinstance(objective, Divisible):
        raise InputError(
            "This stage trains in one process, without gradient accumulation.",
            expected="one process and engine.accumulation_steps: 1",
            found=f"{parts} parts a step",
            where=f"stage {stage}",
            fix="start it without torchrun; the stages conversation and finetune can be divided",
        )
    if objective.batch_size < parts:
        raise InputError(
            "The batch is too small to be divided.",
            expected=f"options.batch_size of at least {parts}: processes x engine.accumulation_steps",
            found=str(objective.batch_size),
            where="options.batch_size",
            fix="raise it (it is the batch of a whole step, over all processes), or divide it less",
        )


def sum_over_processes(values: dict[str, float], device: torch.device) -> dict[str, float]:
    """Sums of numbers that every process has under the same names; in float64."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return values
    # In one order everywhere: only numbers are sent. In float64, because float32 counts to 16,777,216.
    names = sorted(values)
    summed = torch.tensor([values[n] for n in names], dtype=torch.float64, device=device)
    dist.all_reduce(summed)
    return dict(zip(names, summed.tolist(), strict=True))


def total_counts(shares: Sequence[dict[str, float]], device: torch.device) -> dict[str, float]:
    """Counts of a whole step: over this process's shares and over all processes."""
    own = {name: sum(counts[name] for counts in shares) for name in shares[0]}
    return sum_over_processes(own, device)


def merge_readings(shares: Sequence[dict[str, float]], summed: frozenset[str]) -> dict[str, float]:
    """Readings of a whole step from those of its shares, on every process.

    Args:
        shares: this process's, one mapping per share.
        summed: names of the terms of the loss, whose shares are summands; others (accuracies) are averaged
            over the shares that have them.
    """
    everyone: list[Any] = [list(shares)]
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        # As objects: a share may lack a reading, so that names differ.
        everyone = [None] * dist.get_world_size()
        dist.all_gather_object(everyone, list(shares))
    merged: dict[str, list[float]] = {}
    for readings in (r for own in everyone for r in own):
        for name, value in readings.items():
            merged.setdefault(name, []).append(value)
    return {n: sum(v) if n in summed else sum(v) / len(v) for n, v in merged.items()}
