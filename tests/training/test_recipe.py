"""Recipes are validated to the last field, and errors say where and what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import segue.mini.stages
import segue.training.run  # noqa: F401  both register stages
from segue.errors import InputError
from segue.training.engine.engines import read_config
from segue.training.recipe import RENAMED, Recipe, apply_override, load_recipe
from segue.training.stages import stage_of

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPES = sorted((REPOSITORY / "recipes").glob("*.yaml"))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_shipped_recipes_are_valid(path: Path) -> None:
    recipe = load_recipe(path)
    if recipe.data.own or recipe.stage != "finetune":
        stage_of(recipe).check(recipe)
    expected = (
        "segue-mini",
        "prima-7b",
        "prima-square-7b",
        "miras-7b",
        "tiny-prima",
        "segue-4b",
        "sa2va-4b",
    )
    assert recipe.model.preset in expected
    if path.stem.startswith("mini"):
        assert recipe.model.preset == "segue-mini"
    if recipe.engine.config is not None:
        assert read_config(
            recipe.engine.model_copy(update={"config": str(REPOSITORY / recipe.engine.config)})
        )
    assert recipe.optimiser.max_steps > recipe.optimiser.warmup_steps
    assert Recipe.model_validate(yaml.safe_load(yaml.safe_dump(recipe.model_dump(mode="json")))) == recipe


def test_there_are_recipes_for_all_stages() -> None:
    assert {load_recipe(path).stage for path in RECIPES} == {"look", "talk", "finetune"}
    for path in RECIPES:
        assert stage_of(load_recipe(path))


def test_an_unknown_stage_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="finetune or look or talk") as caught:
        stage_of(Recipe(stage="tolk"))
    assert "'tolk'" in str(caught.value)


def test_defaults_fill_what_is_left_out(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, "stage: talk"))
    assert recipe.data.val is None
    assert recipe.optimiser.betas == (0.9, 0.98)
    assert recipe.options == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: {preset: tiny}", ("stage", "Field required")),
        ("stage: talk\noptimizer: {}", ("optimizer", "not permitted")),
        ("stage: talk\noptimiser: {learning_rat: 1}", ("optimiser.learning_rat", "not permitted")),
        ("stage: talk\noptimiser: {max_steps: many}", ("optimiser.max_steps", "valid integer", "'many'")),
        ("stage: look\ndata: {own: [{weight: 1}]}", ("data.own.0.path", "Field required")),
        ("stage: talk\ndata: [", ("not YAML",)),
        ("- stage", ("not a mapping", "list")),
        ("", ("not a mapping", "NoneType")),
    ],
)
def test_bad_recipes_say_where(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_recipe(path)
    assert all(word in str(caught.value) for word in (*words, str(path)))


@pytest.mark.parametrize(
    "make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_bytes(b"\xff\xfe\x00stage")]
)
def test_unreadable_files_say_so(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "recipe.yaml"
    make(path)
    with pytest.raises(InputError, match="cannot read the recipe"):
        load_recipe(path)


def test_overrides_reach_every_depth(tmp_path: Path) -> None:
    path = write(tmp_path, "stage: talk\ndata: {val: null}\noptions: {batch_size: 4}")
    recipe = load_recipe(
        path,
        [
            "optimiser.max_steps=7",
            "model.tokenizer.folder=x/y",
            "options.points=2",
            "data.val.path=a.json",
            "data.val.images=b",
            "model.overrides={hidden_size: 32}",
            "optimiser.lr_multipliers={sam.mask_decoder: 0.5}",
            "optimiser.betas=[0.8, 0.9]",
        ],
    )
    assert recipe.optimiser.max_steps == 7
    assert recipe.model.tokenizer.folder == "x/y"
    assert recipe.options == {"batch_size": 4, "points": 2}
    assert recipe.data.val is not None
    assert (recipe.data.val.path, recipe.data.val.images) == ("a.json", "b")
    assert recipe.model.overrides == {"hidden_size": 32}
    assert recipe.optimiser.lr_multipliers == {"sam.mask_decoder": 0.5}
    assert recipe.optimiser.betas == (0.8, 0.9)
    assert load_recipe(path, ["data.val=null"]).data.val is None


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimiser.max_steps", ("a.b=value",)),
        ("=3", ("a.b=value",)),
        ("optimiser..x=3", ("a.b=value",)),
        ("stage.name=3", ("'talk'", "--set stage")),
        ("options.points=[1", ("a YAML value", "[1")),
        ("optimiser.max_step=3", ("optimiser.max_step", "not permitted")),
    ],
)
def test_bad_overrides_say_why(tmp_path: Path, override: str, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        load_recipe(write(tmp_path, "stage: talk"), [override])
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("old", RENAMED)
def test_old_names_name_the_new_ones(tmp_path: Path, old: str) -> None:
    path = write(tmp_path, "stage: talk")
    with pytest.raises(InputError, match=RENAMED[old].replace(".", r"\.")) as caught:
        load_recipe(path, [f"{old}=1"])
    assert old in str(caught.value)
    section, name = RENAMED[old].split(".")
    assert name in Recipe(stage="talk").model_dump()[section]


def test_a_value_may_hold_an_equals_sign() -> None:
    data: dict[str, Any] = {}
    apply_override(data, "a.b=x=y")
    assert data == {"a": {"b": "x=y"}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stage: talk\noptions: {point: 3}", ("options", "point", "points")),
        (
            "stage: talk\nmodel: {overrides: {hiden_size: 8}}",
            ("model.overrides", "hiden_size", "hidden_size"),
        ),
        ("stage: finetune\noptions: {points: 3}", ("options", "points", "batch_size")),
    ],
)
def test_names_that_nothing_reads_are_refused_before_anything_runs(
    tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    recipe = load_recipe(write(tmp_path, text))
    with pytest.raises(InputError) as caught:
        stage_of(recipe).check(recipe)
    assert all(word in str(caught.value) for word in words)
