"""`segue bench --train`: speed and memory of training, with kept features of frozen encoders and without."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from segue.errors import InputError
from segue.training.engine.engines import check_optimiser
from segue.training.engine.estimate import Estimate, estimate
from segue.training.engine.loop import check_prefixes
from segue.training.finetune.defaults import with_family_defaults, without_absent_parts
from segue.training.finetune.run import choose_trainable, make_objective
from segue.training.finetune.sources import open_sources
from segue.training.finetune.start import open_model
from segue.training.recipe import Recipe, load_recipe
from segue.training.run import check_paths
from segue.training.stages import missing_paths, stage_of


def bench_training(recipe_path: str | Path, overrides: list[str] | None = None) -> dict[str, Any]:
    """Measure the first steps of a recipe, forward and backward; nothing is trained or kept.

    Args:
        recipe_path: Of stage "finetune".
        overrides: `a.b=value`.

    Returns:
        The content of the file: for `with_kept_features` and `without` samples a second and bytes, and
        `speedup`. A recipe that trains its encoders has none to keep: the reason stands in its place.

    Raises:
        InputError: Anything of the recipe that cannot be used.
    """
    found: dict[str, Any] = {"format": "segue-bench-train/1", "recipe": str(recipe_path)}
    found["without"] = _measure(_recipe(recipe_path, overrides, kept=False))
    found["with_kept_features"] = None
    try:
        found["with_kept_features"] = _measure(_recipe(recipe_path, overrides, kept=True))
    except InputError as error:
        if error.where != "finetune.cache_features":
            raise
        found["reason"] = " ".join(str(error).split())
    else:
        found["speedup"] = (
            found["with_kept_features"]["samples_a_second"] / found["without"]["samples_a_second"]
        )
    return found


def _recipe(path: str | Path, overrides: list[str] | None, *, kept: bool) -> Recipe:
    recipe = load_recipe(path, [*(overrides or ()), f"finetune.cache_features={str(kept).lower()}"])
    if recipe.stage != "finetune":
        raise InputError(
            "Training of this stage is not measured.",
            expected="a recipe of stage finetune",
            found=repr(recipe.stage),
            where=str(path),
            fix="the stages that make segue-mini write their speed into losses.jsonl",
        )
    stage = stage_of(recipe)
    stage.check(recipe)
    check_optimiser(recipe)
    check_paths(stage, missing_paths(stage, recipe))
    return recipe


def _measure(recipe: Recipe) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as folder:
        out = Path(folder)
        sources = open_sources(recipe, out)
        bundle = open_model(recipe)
        recipe = without_absent_parts(with_family_defaults(recipe, bundle.model), bundle.model)
        check_prefixes(recipe, bundle.model)
        trains = choose_trainable(bundle.model, recipe, bundle.processor.tokenizer)
        objective = make_objective(recipe, bundle, sources, out, trains)
        found = estimate(bundle.model, objective, recipe.optimiser.max_steps or 1)
        return _described(found, objective.batch_size)


def _described(found: Estimate, batch_size: int) -> dict[str, Any]:
    return {
        "batch_size": batch_size,
        "seconds_a_step": found.seconds_a_step,
        "samples_a_second": batch_size / found.seconds_a_step,
        "first_step_seconds": found.seconds_first,
        "memory_bytes": found.total,
        "activation_bytes": found.activations,
        "trained_parameters": found.trained,
        "parameters": found.parameters,
        "device": found.device,
    }
