"""A dry run: what a recipe would read, train and need, told without doing it.

It needs neither data, weights, accelerators nor DeepSpeed, renders nothing, and writes nothing but the
resolved recipe.
"""

from __future__ import annotations

from pathlib import Path

from segue.files import make_folder, write_atomic
from segue.training.engine.engines import read_config
from segue.training.engine.loop import check_prefixes
from segue.training.engine.memory import estimate_memory, memory_lines
from segue.training.engine.progress import tell
from segue.training.recipe import EngineRecipe, Recipe, written_recipe
from segue.training.stages import Stage, missing_paths


def describe(recipe: Recipe, stage: Stage, out: Path) -> Path:
    """Say what a run would do, and write its resolved recipe into `out`, which is returned.

    Paths come first: a configuration of the engine that cannot be read ends it; data and models that are not
    there yet are named, for they may lie on the machine that trains.

    Raises:
        InputError: Anything of the recipe that no machine could use.
    """
    if recipe.engine.kind in ("deepspeed", "fsdp2"):
        read_config(recipe.engine)
    make_folder(out)
    missing = missing_paths(stage, recipe)
    tell([f"missing: {path} ({name})" for name, path in missing.items()])
    plan = stage.plan(recipe)
    check_prefixes(plan.recipe, plan.model)
    found = estimate_memory(plan.model, set(plan.trainable), plan.recipe.engine, plan.conversations)
    write_atomic(out / "recipe.yaml", written_recipe(plan.recipe))
    tell([*plan.remarks, *engine_lines(plan.recipe.engine), *memory_lines(found, plan.recipe.engine)])
    tell([f"resolved recipe {out / 'recipe.yaml'}"])
    if missing:
        tell([f"here the run would stop at once: {len(missing)} of the paths it reads are missing"])
    return out


def engine_lines(engine: EngineRecipe) -> list[str]:
    """Say how the run has to be started."""
    if engine.kind == "none" or (engine.kind == "ddp" and (engine.processes or 1) == 1):
        return ["one process"] if engine.processes == 1 else []
    count = engine.processes or 1
    needs = {"deepspeed": "the package deepspeed", "fsdp2": "GPUs"}.get(engine.kind)
    start = f"torchrun --nproc_per_node={count} -m segue.cli train ..."
    return [f"engine {engine.kind}{f', which needs {needs}' if needs else ''}: {_processes(count)}, {start}"]


def _processes(count: int) -> str:
    return "one process" if count == 1 else f"{count} processes"
