"""The recipe of a run on own data: the shipped one, filled in for the model's family and the data's size."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TypeVar

from segue.errors import InputError
from segue.models.mini.slot_vocabulary import reads_names
from segue.models.modeling_grounded import GroundedModel
from segue.training.adapters import FINETUNE_DEFAULTS, TRAINABLE
from segue.training.finetune.mixture import Mixture
from segue.training.recipe import FinetuneRecipe, OptimiserRecipe, Recipe, load_recipe

DEFAULT_RECIPE = Path(__file__).with_name("own_data.yaml")
"""What `segue train --data` runs; `recipes/own_data.yaml` is a copy of it."""

Section = TypeVar("Section", OptimiserRecipe, FinetuneRecipe)

SMALL = 500_000_000
"""Models with fewer parameters train whole parts; larger ones train LoRA and their family's table."""


def family_of(model: GroundedModel) -> str:
    """The row of `TRAINABLE` that a model is trained by: "mini" below `SMALL` parameters.

    Raises:
        InputError: There is no row for a large model of this family.
    """
    if sum(p.numel() for p in model.parameters()) < SMALL:
        return "mini"
    square = getattr(model.config, "visual_module", "") == "square"
    family = f"{model.config.model_type}{'-square' if square else ''}"
    if family not in TRAINABLE:
        raise InputError(
            "What trains in this family is not known.",
            expected=" or ".join(TRAINABLE),
            found=family,
            where="finetune.family",
            fix="set finetune.family, or name the prefixes in `trainable`",
        )
    return family


def family_for(recipe: Recipe, model: GroundedModel) -> str:
    """The row of `TRAINABLE` for a run: the recipe's, or the model's; kept features need frozen encoders."""
    family = recipe.finetune.family or family_of(model)
    return "mini-frozen" if family == "mini" and recipe.finetune.cache_features else family


def own_recipe(overrides: list[str]) -> Recipe:
    """The default recipe with overrides."""
    return load_recipe(DEFAULT_RECIPE, overrides)


def with_steps(recipe: Recipe, mixture: Mixture) -> Recipe:
    """The recipe with its number of steps: as given, or from the epochs; at most a fifth is warm-up."""
    steps = recipe.optimiser.max_steps
    if "max_steps" not in recipe.optimiser.model_fields_set:
        batch = recipe.options.get("batch_size", 8)
        steps = max(recipe.finetune.least_steps, math.ceil(recipe.finetune.epochs * len(mixture) / batch))
    warmup = min(recipe.optimiser.warmup_steps, steps // 5)
    optimiser = recipe.optimiser.model_copy(update={"max_steps": steps, "warmup_steps": warmup})
    return recipe.model_copy(update={"optimiser": optimiser})


def with_family_defaults(recipe: Recipe, model: GroundedModel) -> Recipe:
    """The recipe with `FINETUNE_DEFAULTS` of its family wherever it says nothing itself."""
    defaults = FINETUNE_DEFAULTS.get(family_for(recipe, model), {})
    options = defaults.get("options", {}) | recipe.options
    if "name_presence" not in recipe.options and not reads_names(model):
        options.pop("name_presence", None)
    return recipe.model_copy(
        update={
            "options": options,
            "optimiser": filled_in(recipe.optimiser, defaults.get("optimiser", {})),
            "finetune": filled_in(recipe.finetune, defaults.get("finetune", {})),
        }
    )


def filled_in(section: Section, defaults: dict[str, Any]) -> Section:
    """A section of a recipe with these values for the fields that it leaves open."""
    given = section.model_fields_set
    chosen = {name: value for name, value in defaults.items() if name not in given}
    return type(section)(**(section.model_dump(include=given) | chosen))


def without_absent_parts(recipe: Recipe, model: GroundedModel) -> Recipe:
    """The recipe without those learning-rate factors of the default one whose parts the family lacks."""
    shipped = own_recipe([]).optimiser.slow
    names = [name for name, _ in model.named_parameters()]
    slow = {
        prefix: factor
        for prefix, factor in recipe.optimiser.slow.items()
        if shipped.get(prefix) != factor or any(name.startswith(prefix) for name in names)
    }
    return recipe.model_copy(update={"optimiser": recipe.optimiser.model_copy(update={"slow": slow})})
