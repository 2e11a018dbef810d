"""Loading: names, folders, what is missing, and what is damaged."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from segue.errors import ModelError
from segue.models import auto
from segue.models.auto import load, presets_with_weights, weights_folder


@pytest.fixture
def folder(tiny_model_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "copy"))


def test_a_folder_becomes_a_ready_model(tiny_model_folder: Path) -> None:
    bundle = load(tiny_model_folder, device="cpu")
    assert type(bundle.model).__name__ == "MiniModel"
    assert type(bundle.processor).__name__ == "PrimaProcessor"
    assert bundle.model.dtype == torch.float32
    assert not bundle.model.training
    assert load(str(tiny_model_folder), "cpu", "bfloat16").model.dtype == torch.bfloat16


def test_half_precision_weights_run_in_float32_on_a_cpu(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    halved = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    save_file(halved, folder / "model.safetensors", metadata={"format": "pt"})
    assert load(folder, "cpu").model.dtype == torch.float32


def test_presets_without_weights_say_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(auto, "WEIGHTS_FOLDER", tmp_path)
    assert presets_with_weights() == []
    with pytest.raises(ModelError, match="embedded weights of segue-mini are missing"):
        load("segue-mini")
    with pytest.raises(
        ModelError, match=r"(?s)public checkpoints.*lmsys/vicuna-7b-v1\.5.*segue init prima-7b"
    ):
        load("prima-7b")
    with pytest.raises(ModelError, match="for tests and dry runs"):
        load("tiny")


def test_an_embedded_preset_is_found_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_model_folder: Path
) -> None:
    shutil.copytree(tiny_model_folder, tmp_path / "segue-mini")
    monkeypatch.setattr(auto, "WEIGHTS_FOLDER", tmp_path)
    assert presets_with_weights() == ["segue-mini"]
    bundle = load("segue-mini", "cpu")
    assert (bundle.name, bundle.path) == ("segue-mini", tmp_path / "segue-mini")


@pytest.mark.parametrize("name", ["segue-maxi", "", "a/b", "\x00", "x" * 5000])
def test_unknown_names(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError):
        weights_folder(name)


def test_a_file_is_not_a_model(tiny_model_folder: Path) -> None:
    with pytest.raises(ModelError, match="which is a file"):
        load(tiny_model_folder / "config.json")


def test_folders_that_lack_something_are_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"(?s)expected: a config\.json.*where: .*empty"):
        load(tmp_path / "empty")
    (folder / "processor_config.json").unlink()
    with pytest.raises(ModelError, match=r"processor_config\.json"):
        load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"weights \(\*\.safetensors\)"):
        load(folder)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"model_type": "llama"}', "{}", "\ufeff{", '{"model_type": ["prima"]}']
)
def test_a_foreign_configuration_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"config\.json"):
        load(folder)


def test_damaged_weights_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match="readable model"):
        load(folder)


def test_a_damaged_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="readable processor"):
        load(folder, "cpu")


@pytest.mark.parametrize("change", ["missing", "surplus", "shape"])
def test_weights_must_fill_the_model(folder: Path, change: str) -> None:
    weights = load_file(folder / "model.safetensors")
    name = "seg_projection.0.weight"
    if change == "missing":
        del weights[name]
    elif change == "surplus":
        weights["nobody.knows"] = torch.zeros(2)
    else:
        weights[name] = torch.zeros(3, 3)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match=r"nobody\.knows" if change == "surplus" else r"seg_projection\.0\.weight"
    ):
        load(folder, "cpu")


def test_a_config_that_the_classes_refuse_is_a_model_error(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["visual_module"] = "telepathy"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="telepathy"):
        load(folder, "cpu")


def test_devices_and_dtypes_are_checked(tiny_model_folder: Path) -> None:
    with pytest.raises(ModelError, match="Unknown dtype"):
        load(tiny_model_folder, "cpu", "int8")
    with pytest.raises(ModelError, match="float33"):
        load(tiny_model_folder, "cpu", "float33")
    with pytest.raises(ModelError, match="device"):
        load(tiny_model_folder, "warp-core")


def test_every_recipe_that_the_code_names_exists(repository: Path) -> None:
    named = {
        name
        for path in (repository / "src").rglob("*.py")
        for name in re.findall(r"recipes/[\w./-]*\.(?:yaml|sh|json)", path.read_text(encoding="utf-8"))
    }
    assert {name for name in named if not (repository / name).is_file()} == set()
    assert "recipes/reproduce_mini.sh" in named
