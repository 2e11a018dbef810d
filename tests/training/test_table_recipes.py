"""One fine-tuning recipe for every row of the papers' tables: equal schedules, right families, dry runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from segue.cli import main
from segue.models.presets import preset
from segue.training.recipe import Recipe, load_recipe

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
M4SEG = [
    *sorted((RECIPES / "m4seg").glob("*.yaml")),
    RECIPES / "prima_7b.yaml",
    RECIPES / "prima_square_7b.yaml",
]
PRIST = [*sorted((RECIPES / "prist").glob("*.yaml")), RECIPES / "miras_stage2.yaml"]
ALL = [*M4SEG, *PRIST]


def identify(path: Path) -> str:
    return path.relative_to(RECIPES).with_suffix("").as_posix()


def schedule(recipe: Recipe) -> tuple[object, ...]:
    o = recipe.optimiser
    return (
        o.learning_rate, o.betas, o.weight_decay, o.warmup_steps, o.max_steps, o.schedule,
        recipe.options, recipe.finetune.lora_rank, recipe.finetune.lora_alpha, recipe.engine.bf16,
    )  # fmt: skip


@pytest.mark.parametrize("paths", [M4SEG, PRIST], ids=["m4seg", "prist"])
def test_rows_differ_in_the_model_alone(paths: list[Path]) -> None:
    recipes = [load_recipe(path) for path in paths]
    assert len({str(schedule(recipe)) for recipe in recipes}) == 1
    assert len({recipe.model.preset for recipe in recipes}) == len(recipes)
    assert len({recipe.model.start for recipe in recipes}) == len(recipes)
    assert len({recipe.data.own[0].path for recipe in recipes}) == 1


def test_every_row_of_the_tables_has_a_recipe() -> None:
    presets = {load_recipe(path).model.preset for path in M4SEG}
    ablations = {f"prima-{name}-7b" for name in ("plain", "qformer", "dino", "pooling", "square")}
    assert presets == {"lisa-7b", "glamm-7b", "omg-llava-7b", "miras-7b", "prima-7b", *ablations}
    assert {load_recipe(path).model.preset for path in PRIST} == {
        "lisa-7b", "glamm-7b", "omg-llava-7b", "miras-7b", "prima-7b", "prima-square-7b"
    }  # fmt: skip


@pytest.mark.parametrize("path", ALL, ids=identify)
def test_a_recipe_says_what_it_is(path: Path) -> None:
    recipe = load_recipe(path)
    text = path.read_text()
    if path.parent != RECIPES:
        assert f"recipes/{path.parent.name}/{path.name} --out runs/{path.parent.name}/{path.stem}" in text
    family = recipe.finetune.family
    config = preset(recipe.model.preset).config()
    square = getattr(config, "visual_module", "") == "square"
    assert family in (None, config.model_type + ("-square" if square else ""))
    share = recipe.options["batch_size"] / ((recipe.engine.processes or 1) * recipe.engine.accumulation_steps)
    assert share == int(share)


NEW = [path for path in ALL if path.parent != RECIPES]
"""Those of the folder above have dry runs of their own in `test_dry_run`."""


@pytest.mark.parametrize("path", NEW, ids=identify)
def test_dry_run(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipes").symlink_to(RECIPES)
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(path), "--out", "run", "--dry-run"]) == 0
    said = capsys.readouterr().err
    trained, everything = re.search(r"trains ([0-9.,]+) of ([0-9.,]+) M", said).groups()  # type: ignore[union-attr]
    # InternLM2's two tables have three times as many rows as LLaMA's.
    tables = 496 if path.stem == "omg_llava" else 0
    assert 200 + tables < float(trained.replace(",", "")) < 500 + tables, "tables, LoRA, projections, decoder"
    assert 7700 < float(everything.replace(",", "")) < 9100
