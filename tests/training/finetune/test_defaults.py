"""The shipped recipe is filled in from the model and the data, and what the user says stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segue.errors import InputError
from segue.models.auto import load_config, weights_folder
from segue.models.presets import preset
from segue.training.adapters import FAMILIES
from segue.training.finetune.defaults import (
    family_for,
    family_of,
    known_family,
    own_recipe,
    with_family_defaults,
    with_steps,
    without_absent_parts,
)
from segue.training.finetune.run import finetune
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
    tiny: Callable[..., Any], tiny_lisa: Callable[..., Any]
) -> None:
    assert family_of(tiny()[0].config) == "prima"
    lisa = tiny_lisa()[0]
    assert family_of(lisa.config) == "lisa"
    filled = with_family_defaults(own_recipe([]), lisa)
    assert filled.optimiser.muon_rate == 0
    assert filled.options == own_recipe([]).options
    trains = choose_trainable(lisa, filled)
    assert any(".lora_A." in name for name in trains), "LoRA, as its code has it"
    assert not any(name.startswith(("sam.vision_encoder", "vision_model")) for name in trains)
    for size in ("prima-7b", "prima-square-7b"):
        assert family_of(preset(size).config()) == size.removesuffix("-7b")


def test_options_of_another_family_are_refused(tiny_lisa: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="conversations"):
        with_family_defaults(own_recipe(["options.conversations=6"]), tiny_lisa()[0])


def test_a_model_of_no_known_family_needs_names_of_what_trains(tiny: Callable[..., Any]) -> None:
    model = tiny()[0]
    model.config.model_type = "flamingo"
    with pytest.raises(InputError, match="flamingo"):
        with_family_defaults(own_recipe([]), model)
    told = own_recipe(["trainable=[fusion]"])
    assert known_family(told, model.config) is None
    assert with_family_defaults(told, model) is told
    assert choose_trainable(model, told)


def test_the_model_of_drawn_scenes_is_not_taught(tmp_path: Path) -> None:
    """Before any data are read."""
    fields = ["model.start=segue-scenes", f"data.own=[{{path: {tmp_path / 'nowhere.json'}}}]"]
    with pytest.raises(InputError, match="does not learn from own data") as caught:
        finetune(own_recipe(fields), tmp_path / "run")
    for words in ("prima_embedded", "prima_mini", "model.start", "teach segue-mini", "finetune.family"):
        assert words in str(caught.value)
    chosen = own_recipe([*fields, "finetune.family=prima-encoders-frozen"])
    assert family_for(chosen, load_config(weights_folder("segue-scenes"))) == "prima-encoders-frozen"


@pytest.fixture
def slow_learners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the tiny models' family have defaults of its own."""
    values = {
        "options": {"batch_size": 2, "longest_side": 100},
        "optimiser": {"muon_rate": 0.01},
        "finetune": {"min_steps": 1000},
    }
    row = replace(FAMILIES["prima"], defaults=lambda model: values)
    monkeypatch.setitem(FAMILIES, "prima", row)


def test_a_family_fills_in_only_what_the_recipe_leaves_open(
    tiny: Callable[..., Any], slow_learners: None
) -> None:
    model = tiny()[0]
    filled = with_family_defaults(own_recipe([]), model)
    assert filled.options == {"batch_size": 2, "longest_side": 100}
    assert filled.finetune.min_steps == 1000
    assert filled.finetune.epochs == own_recipe([]).finetune.epochs
    assert filled.optimiser.muon_rate == 0.01
    assert "max_steps" not in filled.optimiser.model_fields_set
    chosen = own_recipe(["options.batch_size=8", "optimiser.muon_rate=0", "finetune.min_steps=7"])
    kept = with_family_defaults(chosen, model)
    assert kept.options == {"batch_size": 8, "longest_side": 100}
    assert (kept.optimiser.muon_rate, kept.finetune.min_steps) == (0, 7)
    other = own_recipe(["finetune.family=prima-tokens"])
    assert with_family_defaults(other, model).model_dump() == other.model_dump()
