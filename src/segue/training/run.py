"""Run a recipe: the door to every stage. Start reading here."""

from __future__ import annotations

from pathlib import Path

from segue.errors import InputError
from segue.training.dry_run import describe
from segue.training.engine.engines import check_optimiser, join_processes
from segue.training.finetune.run import FinetuneStage
from segue.training.recipe import load_recipe
from segue.training.stages import Stage, missing_paths, register_stage, stage_of

register_stage("finetune", FinetuneStage())


def train(
    recipe_path: str | Path,
    out: str | Path,
    overrides: list[str] | None = None,
    dry_run: bool = False,
    resume: bool = True,
) -> Path:
    """Train one stage.

    Args:
        recipe_path: YAML, see `segue.training.recipe`.
        out: Run folder; holds the resolved recipe, checkpoints, and at the end `final/`.
        overrides: `a.b=value`.
        dry_run: Write the resolved recipe, say what the run would read, train and need, then stop.
        resume: Go on from the last checkpoint in `out`.

    Returns:
        The folder of the final model (of the run in a dry run).

    Raises:
        InputError: Anything of the recipe that cannot be used, before any work.
    """
    recipe, out = load_recipe(recipe_path, overrides), Path(out)
    stage = stage_of(recipe)
    stage.check(recipe)
    check_optimiser(recipe)
    # Before paths are looked for: they may lie on the machine that trains.
    if dry_run:
        return describe(recipe, stage, out)
    check_paths(stage, missing_paths(stage, recipe))
    join_processes(recipe.engine)
    return stage.run(recipe, out, resume=resume)


def check_paths(stage: Stage, missing: dict[str, str]) -> None:
    """Refuse a run, before any work, whose files are not there.

    Raises:
        InputError: Naming all of them.
    """
    if missing:
        raise InputError(
            "Files that the recipe names are not there.",
            expected="all of them, before any work begins",
            found="nothing at " + ", ".join(missing.values()),
            where=", ".join(missing),
            fix="mend the paths (relative ones start where the command is run), or make the files",
        )
