"""A dry run of every recipe on a machine that has neither data, weights, GPUs nor DeepSpeed."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
import torch

from segue.cli import main
from segue.errors import InputError, ModelError
from segue.training.engine import engines
from segue.training.finetune.defaults import DEFAULT_RECIPE
from segue.training.recipe import load_recipe
from segue.training.run import train

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPES = sorted((REPOSITORY / "recipes").glob("*.yaml"))


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in with the recipes' engine files alone; no GPU, no DeepSpeed, no network."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(socket, "socket", None)
    here = tmp_path / "here"
    (here / "recipes").mkdir(parents=True)
    (here / "recipes" / "engines").symlink_to(REPOSITORY / "recipes" / "engines")
    monkeypatch.chdir(here)
    return here


def files_below(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_recipe(path: Path, bare_machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(path), "--out", "run", "--dry-run"]) == 0
    assert files_below(bare_machine) == ["run/recipe.yaml"], "nothing else is written, here or elsewhere"
    resolved = load_recipe(bare_machine / "run" / "recipe.yaml")
    assert resolved.stage == load_recipe(path).stage
    said = capsys.readouterr().err
    found = re.search(r"trains ([0-9.,]+) of ([0-9.,]+) M parameters", said)
    assert found is not None
    trained, all_of_them = (float(n.replace(",", "")) for n in found.groups())
    assert 0 < trained <= all_of_them
    assert "memory about" in said
    if "segue_4b" in path.stem:
        assert all_of_them > 4600
        assert "missing: " in said
    if "7b" in path.stem or "miras" in path.stem:
        assert all_of_them > 7000
        assert "GiB" in said
        assert "missing: " in said


@pytest.mark.parametrize("name", ["zero2.json", "zero3.json", "fsdp2.yaml"])
def test_every_engine(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    kind = "fsdp2" if name == "fsdp2.yaml" else "deepspeed"
    engine = f"{{kind: {kind}, config: recipes/engines/{name}, processes: 8, bf16: true}}"
    arguments = ["train", str(REPOSITORY / "recipes" / "prima_7b.yaml"), "--out", "run", "--dry-run"]
    assert main([*arguments, "--set", f"engine={engine}"]) == 0
    said = capsys.readouterr().err
    assert "torchrun --nproc_per_node=8" in said
    weights = float(re.search(r"weights ([0-9.]+) GiB", said).group(1))  # type: ignore[union-attr]
    # 8.9 G parameters at 2 bytes, a little more where what trains is float32; ZeRO-2 leaves them whole.
    assert weights == pytest.approx(8.9e9 * 2 / 2**30 / (1 if name == "zero2.json" else 8), rel=0.1)


def test_paths_come_first(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prima = REPOSITORY / "recipes" / "prima_7b.yaml"
    with pytest.raises(InputError, match=r"models/prima-7b-start, datasets/m4seg/train\.jsonl"):
        train(prima, "run", ["engine={kind: none}"])
    assert files_below(bare_machine) == []
    with pytest.raises(InputError, match="configuration cannot be read"):
        train(prima, "run", ["engine.config=nowhere.json"], dry_run=True)
    assert files_below(bare_machine) == []


def test_the_run_itself_stops_before_it_looks(bare_machine: Path) -> None:
    with pytest.raises(InputError, match=r"everyday/train\.json"):
        train(REPOSITORY / "recipes" / "mini_look.yaml", "run")
    assert files_below(bare_machine) == []


def test_what_is_typed_must_be_there(capsys: pytest.CaptureFixture[str]) -> None:
    own = ["--data", "nowhere.json", "--out", "run", "--dry-run"]
    assert main(["train", "--model", "segue-mini", *own]) == 2
    assert "nowhere.json" in capsys.readouterr().err
    prima = ["train", str(REPOSITORY / "recipes" / "prima_7b.yaml"), "--out", "run", "--dry-run"]
    assert main([*prima, "--data", "typo.json"]) == 2
    assert "typo.json" in capsys.readouterr().err


def test_a_preset_stands_for_a_model_that_is_not_there_yet(bare_machine: Path) -> None:
    here = ["data.own=[{path: a.jsonl}]", "model.start=nowhere"]
    with pytest.raises(ModelError, match="There is no such model"):
        train(DEFAULT_RECIPE, "run", here, dry_run=True)
    train(DEFAULT_RECIPE, "run", [*here, "model.preset=lisa-7b"], dry_run=True)
    resolved = load_recipe(bare_machine / "run" / "recipe.yaml")
    assert resolved.optimiser.lr_multipliers == {"sam.mask_decoder": 0.5}, "what LISA lacks is left out"
