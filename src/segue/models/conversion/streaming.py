"""Carry a plan out: read each source tensor once, write it to its places, keep nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from tqdm import tqdm

from segue.models.conversion.checkpoints import Checkpoint
from segue.models.conversion.plan import Plan, Shape
from segue.models.conversion.writing import ShardWriter


def joined_shapes(checkpoints: Mapping[str, Checkpoint]) -> dict[str, Shape]:
    """Shapes of several checkpoints together, each name with its checkpoint's label before it."""
    return {label + name: shape for label, c in checkpoints.items() for name, shape in c.shapes.items()}


def converted(
    checkpoints: Mapping[str, Checkpoint], plan: Plan, shapes: Mapping[str, Shape]
) -> Iterator[tuple[str, Tensor]]:
    """The target tensors, in the order in which their sources lie on disk.

    Args:
        checkpoints: label to checkpoint; the labels are the prefixes of the plan's source names.
        plan: what goes where.
        shapes: of the target.
    """
    moves = {move.source: move for move in plan.moves}
    parted: dict[str, Tensor] = {}
    waiting: dict[str, int] = {}
    for move in plan.moves:
        if move.part is not None:
            waiting[move.targets[0]] = waiting.get(move.targets[0], 0) + 1
    for label, checkpoint in checkpoints.items():
        for name, tensor in checkpoint.tensors():
            move = moves[label + name]
            if move.part is None:
                # SAM's position frequencies go to two places; a fused matrix gives each place a part of it.
                parts = tensor.chunk(len(move.targets)) if move.split else [tensor] * len(move.targets)
                for target, part in zip(move.targets, parts, strict=True):
                    whole = part[None] if move.unsqueeze else part
                    yield target, whole if move.rows is None else _fitted(part, move.rows, shapes[target])
                continue
            (target,) = move.targets
            # Zeros stay where nothing comes, see `Rule.gaps`.
            whole = parted.setdefault(target, torch.zeros(shapes[target], dtype=tensor.dtype))
            size = len(tensor)
            whole[move.part * size : (move.part + 1) * size] = tensor
            # Yielded by the last part that is planned, in whichever order the file has them.
            waiting[target] -= 1
            if not waiting[target]:
                yield target, parted.pop(target)


def _fitted(tensor: Tensor, rows: int, shape: Shape) -> Tensor:
    """A table of the vocabulary with another number of rows; see `Rule.rows`."""
    kept = tensor[:rows]
    # In float32 whatever the file's type. Why the average: docs/provenance.md, MIRAS 17.
    average = kept.float().mean(0, keepdim=True).to(kept.dtype)
    return torch.cat([kept, average.expand(shape[0] - rows, *shape[1:])])


def write_converted(
    checkpoints: Mapping[str, Checkpoint],
    plan: Plan,
    shapes: Mapping[str, Shape],
    writer: ShardWriter,
    fresh: Mapping[str, Tensor] | None = None,
) -> None:
    """Write all target tensors, showing progress; `fresh` holds those that no checkpoint has."""
    # Any order will do: the writer knows the place of every tensor.
    for name, tensor in (fresh or {}).items():
        writer.write(name, tensor)
    total = len(shapes) - len(plan.fresh)
    for name, tensor in tqdm(converted(checkpoints, plan, shapes), total=total, desc="tensors", leave=False):
        writer.write(name, tensor)
