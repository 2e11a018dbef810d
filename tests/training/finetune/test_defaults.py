"""The shipped recipe is filled in from the model and the data, and what the user says stays."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from segue.errors import InputError
from segue.models.build import build_prima
from segue.models.presets import preset
from segue.training.finetune.defaults import (
    family_for,
    family_of,
    known_family,
    own_recipe,
    with_family_defaults,
    with_steps,
    without_absent_parts,
)
from segue.training.finetune.start import choose_trainable
from segue.training.recipe import Recipe


def test_factors_of_parts_that_a_family_lacks_are_dropped(tiny: Callable[..., Any]) -> None:
    model = tiny()[0]
    assert (
        without_absent_parts(own_recipe([]), model).optimiser.lr_multipliers
        == own_recipe([]).optimiser.lr_multipliers
    )
    del model.reader
    assert set(without_absent_parts(own_recipe([]), model).optimiser.lr_multipliers) == {
        "fusion",
        "sam.mask_decoder",
    }
    odd = without_absent_parts(own_recipe(["optimiser.lr_multipliers={reader: 0.3, raeder: 0.3}"]), model)
    assert odd.optimiser.lr_multipliers == {"raeder": 0.3}, "a typing error stays, to be refused"


def recipe(**fields: Any) -> Recipe:
    return Recipe.model_validate({"stage": "finetune"} | fields)


@pytest.mark.parametrize(
    ("fields", "length", "steps", "warmup"),
    [
        ({"finetune": {"epochs": 3, "min_steps": 1}, "options": {"batch_size": 4}}, 100, 75, 15),
        ({"finetune": {"epochs": 3, "min_steps": 300}}, 100, 300, 60),
        ({"finetune": {"epochs": 0.5}, "options": {"batch_size": 8}}, 10_000, 625, 100),
        ({"optimiser": {"max_steps": 7}}, 100, 7, 1),
    ],
)
def test_steps_follow_from_epochs(fields: Any, length: int, steps: int, warmup: int) -> None:
    mixture: Any = range(length)
    found = with_steps(recipe(**fields), mixture).optimiser
    assert (found.max_steps, found.warmup_steps) == (steps, warmup)


def test_what_trains_follows_from_the_model_type_whatever_the_size(
    tiny: Callable[..., Any], tiny_lisa: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    assert family_of(tiny()[0]) == "prima_mini"
    lisa = tiny_lisa()[0]
    assert family_of(lisa) == "lisa"
    filled = with_family_defaults(own_recipe([]), lisa)
    assert filled.optimiser.muon_rate == 0
    assert filled.options == own_recipe([]).options
    trains = choose_trainable(lisa, filled)
    assert any(".lora_A." in name for name in trains), "LoRA, as its code has it"
    assert not any(name.startswith(("sam.vision_encoder", "vision_model")) for name in trains)
    assert family_of(build_prima(tiny_tokenizer)[0]) == "prima", "a small PRIMA is a PRIMA"
    for size in ("prima-7b", "prima-square-7b"):
        config = preset(size).config()
        assert family_of(SimpleNamespace(config=config)) == size.removesuffix("-7b")  # type: ignore[arg-type]


def test_options_of_another_family_are_refused(tiny_lisa: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="code_prompts"):
        with_family_defaults(own_recipe(["options.code_prompts=6"]), tiny_lisa()[0])


def test_a_model_of_no_known_family_needs_names_of_what_trains(tiny: Callable[..., Any]) -> None:
    model = tiny()[0]
    model.config.model_type = "flamingo"
    with pytest.raises(InputError, match="flamingo"):
        with_family_defaults(own_recipe([]), model)
    told = own_recipe(["trainable=[fusion]"])
    assert known_family(told, model) is None
    assert with_family_defaults(told, model) is told
    assert choose_trainable(model, told)


def test_kept_features_need_frozen_encoders(tiny: Callable[..., Any]) -> None:
    model = tiny()[0]
    assert family_for(own_recipe([]), model) == "prima_mini"
    assert family_for(own_recipe(["finetune.cache_features=true"]), model) == "prima_mini-frozen"
    assert family_for(own_recipe(["finetune.family=lisa"]), model) == "lisa"


def test_a_family_fills_in_only_what_the_recipe_leaves_open(tiny: Callable[..., Any]) -> None:
    model = tiny()[0]
    filled = with_family_defaults(own_recipe([]), model)
    assert filled.options["code_prompts"] > 0
    assert filled.options["batch_size"] == 2
    assert filled.finetune.min_steps == 1000
    assert filled.finetune.epochs == own_recipe([]).finetune.epochs
    assert filled.optimiser.muon_rate > 0
    assert "max_steps" not in filled.optimiser.model_fields_set
    wishes = ["code_prompts=0", "batch_size=8"]
    chosen = own_recipe([f"options.{w}" for w in wishes] + ["optimiser.muon_rate=0", "finetune.min_steps=7"])
    kept = with_family_defaults(chosen, model)
    assert (kept.options["batch_size"], kept.finetune.min_steps) == (8, 7)
    assert kept.options["code_prompts"] == 0
    assert kept.optimiser.muon_rate == 0
    large = own_recipe(["finetune.family=prima"])
    assert with_family_defaults(large, model).model_dump() == large.model_dump()
