"""The shipped recipe is filled in from the model and the data, and what the user says stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from segue.models.build import build_prima
from segue.training.finetune.defaults import (
    DEFAULT_RECIPE,
    family_for,
    family_of,
    own_recipe,
    with_family_defaults,
    with_steps,
    without_absent_parts,
)
from segue.training.recipe import Recipe


def test_factors_of_parts_that_a_family_lacks_are_dropped(tiny: Callable[..., Any]) -> None:
    model = tiny()[0]
    assert without_absent_parts(own_recipe([]), model).optimiser.slow == own_recipe([]).optimiser.slow
    del model.reader
    assert set(without_absent_parts(own_recipe([]), model).optimiser.slow) == {"fusion", "sam.mask_decoder"}
    odd = without_absent_parts(own_recipe(["optimiser.slow={reader: 0.3, raeder: 0.3}"]), model)
    assert odd.optimiser.slow == {"raeder": 0.3}, "a typing error stays, to be refused"


def recipe(**fields: Any) -> Recipe:
    return Recipe.model_validate({"stage": "finetune"} | fields)


@pytest.mark.parametrize(
    ("fields", "length", "steps", "warmup"),
    [
        ({"finetune": {"epochs": 3, "least_steps": 1}, "options": {"batch_size": 4}}, 100, 75, 15),
        ({"finetune": {"epochs": 3, "least_steps": 300}}, 100, 300, 60),
        ({"finetune": {"epochs": 0.5}, "options": {"batch_size": 8}}, 10_000, 625, 100),
        ({"optimiser": {"max_steps": 7}}, 100, 7, 1),
    ],
)
def test_steps_follow_from_epochs(fields: Any, length: int, steps: int, warmup: int) -> None:
    mixture: Any = range(length)
    found = with_steps(recipe(**fields), mixture).optimiser
    assert (found.max_steps, found.warmup_steps) == (steps, warmup)


def test_small_models_train_whole_parts(
    tiny: Callable[..., Any], tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert family_of(tiny()[0]) == "mini"
    monkeypatch.setattr("segue.training.finetune.defaults.SMALL", 1)
    assert family_of(build_prima(tiny_tokenizer)[0]) == "prima"
    assert family_of(build_prima(tiny_tokenizer, visual_module="square")[0]) == "prima-square"


def test_the_recipe_of_the_repository_is_the_one_that_ships(repository: Path) -> None:
    shown = (repository / "recipes" / "own_data.yaml").read_text()
    assert shown == DEFAULT_RECIPE.read_text()
    assert Recipe.model_validate(yaml.safe_load(shown)).stage == "finetune"


def test_kept_features_need_frozen_encoders(tiny: Callable[..., Any]) -> None:
    model = tiny()[0]
    assert family_for(own_recipe([]), model) == "mini"
    assert family_for(own_recipe(["finetune.cache_features=true"]), model) == "mini-frozen"
    assert family_for(own_recipe(["finetune.family=lisa"]), model) == "lisa"


def test_a_family_fills_in_only_what_the_recipe_leaves_open(tiny: Callable[..., Any]) -> None:
    model = tiny()[0]
    filled = with_family_defaults(own_recipe([]), model)
    assert filled.options["code_prompts"] > 0
    assert filled.options["batch_size"] == 2
    assert filled.finetune.least_steps == 1000
    assert filled.finetune.epochs == own_recipe([]).finetune.epochs
    assert filled.optimiser.muon_rate > 0
    assert "max_steps" not in filled.optimiser.model_fields_set
    wishes = ["code_prompts=0", "batch_size=8"]
    chosen = own_recipe(
        [f"options.{w}" for w in wishes] + ["optimiser.muon_rate=0", "finetune.least_steps=7"]
    )
    kept = with_family_defaults(chosen, model)
    assert (kept.options["batch_size"], kept.finetune.least_steps) == (8, 7)
    assert kept.options["code_prompts"] == 0
    assert kept.optimiser.muon_rate == 0
    large = own_recipe(["finetune.family=prima"])
    assert with_family_defaults(large, model).model_dump() == large.model_dump()


def test_only_models_that_read_names_are_taught_names(tiny: Callable[..., Any]) -> None:
    silent, reading = tiny(slot_word_ids=())[0], tiny()[0]
    assert "name_presence" not in with_family_defaults(own_recipe([]), silent).options
    assert with_family_defaults(own_recipe([]), reading).options["name_presence"] > 0
    asked = own_recipe(["options.name_presence=0.5"])
    assert with_family_defaults(asked, silent).options["name_presence"] == 0.5, "a wish is not dropped"
