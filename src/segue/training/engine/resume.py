"""A run goes on only as the run that it was: with the recipe that wrote its checkpoint."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from segue.errors import InputError
from segue.training.engine.checkpoints import begin_anew, last_checkpoint, manifest_of, sweep
from segue.training.engine.engines import Processes
from segue.training.engine.loss_log import forget_losses
from segue.training.recipe import Recipe

FREE = frozenset(
    {
        "data.workers", "keep", "log_every", "may_change", "model.preset", "optimiser.max_steps",
        "optimiser.warmup_steps", "report_to", "save_every",
    }
)  # fmt: skip
"""Fields that a resumed run may change: none of them touches what has been learned so far.

`optimiser.max_steps` moves the end of the learning rate's schedule, `optimiser.warmup_steps` its beginning,
from the next step on; on own data the second follows from the first.
"""


def resume_point(out: Path, recipe: Recipe, processes: Processes, *, resume: bool) -> Path | None:
    """The checkpoint that a run goes on from; None begins at step 1.

    Args:
        out: run folder.
        resume: without it, checkpoints and losses that lie there are removed.

    Raises:
        InputError: the checkpoint is of another recipe, or of another number of processes.
    """
    found = None
    if processes.first and out.is_dir():
        sweep(out)
        if resume:
            # After `sweep`, by this one process: what another one saw could be gone by the time it is read.
            found = last_checkpoint(out)
        else:
            begin_anew(out)
            forget_losses(out)
    checkpoint: Path | None = processes.same(found)
    if checkpoint is not None:
        check_same_recipe(checkpoint, recipe)
        check_same_processes(checkpoint, recipe.engine.kind, processes.count)
    return checkpoint


def changed_fields(before: Any, now: Any, name: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted names of the values that differ between two nested mappings, with both values."""
    if isinstance(before, dict) and isinstance(now, dict):
        found: dict[str, tuple[Any, Any]] = {}
        for key in sorted({*before, *now}):
            dotted = f"{name}.{key}" if name else str(key)
            found |= changed_fields(before.get(key), now.get(key), dotted)
        return found
    return {} if before == now else {name: (before, now)}


def check_same_recipe(checkpoint: Path, recipe: Recipe) -> None:
    """Refuse to go on with another recipe, unless `may_change` names each field that differs.

    Raises:
        InputError: naming the fields, their old and their new values.
    """
    before = manifest_of(checkpoint).get("recipe")
    if before is None:
        return
    # Nothing reads the fields that are gone.
    before = without_gone_fields(before, recipe)
    # Fields that did not exist when the checkpoint was written have their defaults.
    with suppress(ValidationError):
        before = Recipe.model_validate(before).model_dump(mode="json")
    allowed = {*FREE, *recipe.may_change}
    changed = {
        name: values
        for name, values in changed_fields(before, recipe.model_dump(mode="json")).items()
        # The name of a section allows all of its fields.
        if not any(name == a or name.startswith(f"{a}.") for a in allowed)
    }
    if changed:
        names = ", ".join(changed)
        raise InputError(
            "The recipe is not the one that this run began with.",
            expected="; ".join(f"{n}: {old!r}" for n, (old, _) in changed.items()),
            found="; ".join(f"{n}: {new!r}" for n, (_, new) in changed.items()),
            where=str(checkpoint),
            fix=f"train into another folder, mend the recipe, or allow it: --set may_change=[{names}]",
        )


def without_gone_fields(before: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """A checkpoint's recipe without fields, of its own or of a section, that recipes have no more."""
    kept: dict[str, Any] = {}
    for name, value in before.items():
        section = getattr(recipe, name, None)
        if isinstance(section, BaseModel) and isinstance(value, dict):
            value = {field: one for field, one in value.items() if field in type(section).model_fields}
        if name in type(recipe).model_fields:
            kept[name] = value
    return kept


def check_same_processes(checkpoint: Path, kind: str, processes: int) -> None:
    """Refuse a checkpoint whose pieces belong to another number of processes.

    Raises:
        InputError: DeepSpeed and FSDP2 write a piece per process and read back what they wrote.
    """
    before = manifest_of(checkpoint).get("processes", processes)
    if kind in ("deepspeed", "fsdp2") and before != processes:
        raise InputError(
            "The checkpoint was written by another number of processes.",
            expected=f"{before} processes: {kind} keeps a piece of the optimiser in each",
            found=str(processes),
            where=str(checkpoint),
            fix="start as many as before; runs with engine.kind ddp may go on with any number",
        )
