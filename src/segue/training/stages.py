"""The kinds of training run that a recipe's `stage` can name.

`finetune` is Segue's own. A package above this one adds its stages by registering them when it is imported;
the command line imports those that come with Segue. So training knows no stage that only one model has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from torch import nn

from segue.errors import InputError
from segue.training.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """A run that a dry run describes: all of it but the work.

    Attributes:
        recipe: Resolved, with what follows from model and data.
        model: On the meta device: shapes without numbers.
        trainable: Names of the parameters that train.
        remarks: Further lines for people.
        conversations: A step's batch, where the language model reads it; None where it does not.
    """

    recipe: Recipe
    model: nn.Module
    trainable: list[str]
    remarks: list[str] = field(default_factory=list)
    conversations: int | None = None


class Stage(Protocol):
    """One kind of training run."""

    def check(self, recipe: Recipe) -> None:
        """Refuse names in the recipe that nothing would read; opens no file. Raises InputError."""
        ...

    def paths(self, recipe: Recipe) -> Mapping[str, str]:
        """Files and folders that a run reads: field of the recipe to path."""
        ...

    def plan(self, recipe: Recipe) -> Plan:
        """Describe a run; reads small files at most, writes none, and needs no weights and no accelerator."""
        ...

    def run(self, recipe: Recipe, out: Path, *, resume: bool) -> Path:
        """Train into `out`; returns the folder of the final model."""
        ...


_STAGES: dict[str, Stage] = {}


def register_stage(name: str, stage: Stage) -> None:
    """Let recipes name a stage."""
    _STAGES[name] = stage


def stage_of(recipe: Recipe) -> Stage:
    """The stage that a recipe names.

    Raises:
        InputError: None of that name is registered.
    """
    if recipe.stage not in _STAGES:
        raise InputError(
            "There is no such stage.",
            expected=" or ".join(sorted(_STAGES)),
            found=repr(recipe.stage),
            where="stage",
            fix="mend the name (for segue-mini's `import segue.mini.stages` first, as segue train does)",
        )
    return _STAGES[recipe.stage]


def missing_paths(stage: Stage, recipe: Recipe) -> dict[str, str]:
    """Paths of a stage that are not there."""
    return {name: path for name, path in stage.paths(recipe).items() if not Path(path).exists()}
