"""Small rows share one frozen trunk and differ in their way to tokens; the tables' scripts run small."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from segue.errors import InputError
from segue.mini.small_rows import ROWS, SHARED, start_row
from segue.models.auto import ModelBundle, load
from tiny_model import QUESTIONS, picture

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def trunk(tiny_model_folder: Path) -> ModelBundle:
    return load(tiny_model_folder, "cpu")


@pytest.mark.parametrize("name", ROWS)
def test_a_row_has_the_trunks_parts(name: str, trunk: ModelBundle, tmp_path: Path) -> None:
    bundle = start_row(name, trunk)
    theirs = trunk.model.state_dict()
    for key, value in bundle.model.state_dict().items():
        if key.startswith(SHARED):
            assert torch.equal(value, theirs[key]), key
    bundle.model.save_pretrained(tmp_path)
    bundle.processor.save_pretrained(tmp_path)
    again = load(tmp_path, "cpu")
    assert type(again.processor) is ROWS[name].processor
    shown = [picture(shade=60), picture(shade=200)]
    batch = again.processor(shown, [("user", QUESTIONS[0])])
    visual = again.model(**batch).visual
    assert (batch["input_ids"] == again.model.config.image_token_id).sum() == visual.mask.sum()
    assert (visual.tokens[0] - visual.tokens[1]).abs().max() > 1e-5


def test_rows_differ(trunk: ModelBundle) -> None:
    names: dict[str, Any] = {name: set(start_row(name, trunk).model.state_dict()) for name in ROWS}
    assert not any(
        "slot" in key or "label_reader" in key or "heat" in key for keys in names.values() for key in keys
    )
    assert any(key.startswith("reader.relational") for key in names["prima_square"])
    assert any(key.startswith("region_alignment") for key in names["miras"])
    assert not any(key.startswith(("reader", "aux_vision_model")) for key in names["lisa"])
    assert {key for key in names["glamm"] if key.startswith("image_projection.2")}


def test_unknown_row(trunk: ModelBundle) -> None:
    with pytest.raises(InputError, match="prima_square"):
        start_row("prima_v3", trunk)


def run(script: str, folder: Path, *arguments: str, **environment: str) -> str:
    segue = folder / "segue"
    segue.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m segue.cli "$@"\n')
    segue.chmod(0o755)
    known = {"SEGUE": str(segue), "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", str(REPOSITORY / "recipes" / script), *arguments],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY / "src")} | known | environment,
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.slow
def test_small_tables_from_nothing(tiny_model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    short = {
        "STEPS": "2",
        "SCENES": "4",
        "TEST": "4",
        "BATCH": "2",
        "SIZE": "64",
        "ROWS": "prima_plain miras",
    }
    run("reproduce_small.sh", tmp_path, str(tiny_model_folder), str(out), **short)
    table = (out / "tables" / "m4seg.md").read_text()
    assert "PRIMA, neither" in table
    assert "with other pictures" in table
    assert "(published" not in table
    # A second call asks and trains nothing: everything is there.
    times = {path: path.stat().st_mtime_ns for path in out.rglob("metrics.json")}
    run("reproduce_small.sh", tmp_path, str(tiny_model_folder), str(out), **short)
    assert times == {path: path.stat().st_mtime_ns for path in out.rglob("metrics.json")}
    assert len(times) == 4


@pytest.mark.slow
@pytest.mark.parametrize(("script", "rows"), [("reproduce_m4seg.sh", 9), ("reproduce_prist.sh", 5)])
def test_cluster_scripts_dry_run(script: str, rows: int, tmp_path: Path) -> None:
    said = run(script, tmp_path, str(tmp_path / "out"), DRY_RUN="1")
    assert len(re.findall(r"trains [0-9.,]+ of", said)) == rows
    assert len(list((tmp_path / "out").glob("*/dry/recipe.yaml"))) == rows
    assert (tmp_path / "out" / "compute.json").is_file()


@pytest.mark.parametrize("script", ["reproduce_m4seg.sh", "reproduce_prist.sh"])
def test_cluster_scripts_name_what_there_is(script: str) -> None:
    from segue.models.presets import PRESETS
    from segue.training.recipe import load_recipe

    text = (REPOSITORY / "recipes" / script).read_text()
    lines = re.findall(r'^    "([^|"]+)\|([^|"]+)\|([^|"]+)"$', text, re.M)
    assert len(lines) > 4
    for _, recipe, preset in lines:
        assert load_recipe(REPOSITORY / recipe).model.preset == preset
        assert preset in PRESETS
    assert subprocess.run(["bash", "-n", str(REPOSITORY / "recipes" / script)], check=False).returncode == 0
