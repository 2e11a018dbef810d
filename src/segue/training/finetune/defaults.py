"""The recipe of a run on own data: the shipped one, filled in for the model's family and the data's size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from segue.errors import InputError
from segue.models.configuration_grounded import GroundedConfig
from segue.models.modeling_grounded import GroundedModel
from segue.training.adapters import FAMILIES, FinetuneFamily, family_named
from segue.training.finetune.mixture import Mixture
from segue.training.finetune.objective import GIVEN, RecordsObjective
from segue.training.recipe import (
    FinetuneRecipe,
    OptimiserRecipe,
    Recipe,
    load_recipe,
    options_of,
    refuse_unknown,
)

DEFAULT_RECIPE = Path(__file__).with_name("own_data.yaml")
"""Recipe of `segue train --data`."""

Section = TypeVar("Section", OptimiserRecipe, FinetuneRecipe)


def family_of(config: GroundedConfig) -> str:
    """The row of `FAMILIES` that a model is trained by: its `model_type`, whatever its size.

    Raises:
        InputError: There is no such row.
    """
    square = getattr(config, "visual_module", "") == "square"
    family = f"{config.model_type}{'-square' if square else ''}"
    if family not in FAMILIES:
        raise InputError(
            "This model does not learn from own data.",
            expected=f"one of a family that does: {', '.join(FAMILIES)}",
            found=family,
            where="model.start",
            fix="teach segue-mini (in Python after `import segue.mini.stages`), or say what trains: "
            "finetune.family or `trainable`",
        )
    return family


def family_for(recipe: Recipe, config: GroundedConfig) -> str:
    """The row of `FAMILIES` for a run: the recipe's, or the model's."""
    return recipe.finetune.family or family_of(config)


def known_family(recipe: Recipe, config: GroundedConfig) -> FinetuneFamily | None:
    """The row of `family_for`; None for a model of no known family whose recipe says itself what trains."""
    if recipe.trainable and recipe.finetune.family is None:
        try:
            return family_named(family_for(recipe, config))
        except InputError:
            return None
    return family_named(family_for(recipe, config))


def own_recipe(overrides: list[str]) -> Recipe:
    """The default recipe with overrides."""
    return load_recipe(DEFAULT_RECIPE, overrides)


def with_steps(recipe: Recipe, mixture: Mixture) -> Recipe:
    """The recipe with its number of steps: as given, or from the epochs; at most a fifth is warm-up."""
    steps = recipe.optimiser.max_steps
    # What was written down counts, even the default's own value.
    if "max_steps" not in recipe.optimiser.model_fields_set:
        # 8 is the objective's default.
        batch = recipe.options.get("batch_size", 8)
        steps = max(recipe.finetune.min_steps, math.ceil(recipe.finetune.epochs * len(mixture) / batch))
    warmup = min(recipe.optimiser.warmup_steps, steps // 5)
    optimiser = recipe.optimiser.model_copy(update={"max_steps": steps, "warmup_steps": warmup})
    return recipe.model_copy(update={"optimiser": optimiser})


def with_family_defaults(recipe: Recipe, model: GroundedModel) -> Recipe:
    """The recipe with its family's defaults wherever it says nothing itself.

    Raises:
        InputError: It has an option that this family does not read.
    """
    family = known_family(recipe, model.config)
    if family is None:
        return recipe
    refuse_unknown(recipe.options, options_of(RecordsObjective) - GIVEN | family.options, "options")
    defaults = family.defaults(model)
    options = {**defaults.get("options", {}), **recipe.options}
    return recipe.model_copy(
        update={
            "options": options,
            "optimiser": filled_in(recipe.optimiser, defaults.get("optimiser", {})),
            "finetune": filled_in(recipe.finetune, defaults.get("finetune", {})),
        }
    )


def filled_in(section: Section, defaults: Mapping[str, Any]) -> Section:
    """A section of a recipe with these values for the fields that it leaves open."""
    given = section.model_fields_set
    chosen = {name: value for name, value in defaults.items() if name not in given}
    # Built anew, not copied with changes: pydantic then validates the defaults too.
    return type(section)(**(section.model_dump(include=given) | chosen))


def without_absent_parts(recipe: Recipe, model: GroundedModel) -> Recipe:
    """The recipe without those learning-rate factors of the default one whose parts the family lacks."""
    shipped = own_recipe([]).optimiser.lr_multipliers
    names = [name for name, _ in model.named_parameters()]
    present = {
        prefix: factor
        for prefix, factor in recipe.optimiser.lr_multipliers.items()
        # A factor that the user wrote stays: if nothing fits it, `check_prefixes` says so.
        if shipped.get(prefix) != factor or any(name.startswith(prefix) for name in names)
    }
    return recipe.model_copy(
        update={"optimiser": recipe.optimiser.model_copy(update={"lr_multipliers": present})}
    )
