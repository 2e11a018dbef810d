"""Folders from before the embedded model had a `model_type` of its own load as what they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from segue.models.auto import load, load_config, load_model
from segue.models.build import build_prima
from segue.models.mini.configuration_mini import MiniConfig
from segue.models.mini.modeling_mini import MiniModel
from segue.models.modeling_prima import PrimaModel
from segue.training.engine.checkpoints import restore


def rewrite(folder: Path, **fields: Any) -> Path:
    """Change fields of a folder's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return folder


@pytest.fixture
def old(tiny_model_folder: Path, tmp_path: Path) -> Path:
    """An embedded model as it was written when it was a `prima`."""
    copy = Path(shutil.copytree(tiny_model_folder, tmp_path / "old"))
    return rewrite(copy, model_type="prima", architectures=["PrimaModel"])


@pytest.fixture
def prima(tiny_tokenizer: Any, tmp_path: Path) -> Path:
    model, processor = build_prima(tiny_tokenizer)
    model.save_pretrained(tmp_path / "prima")
    processor.save_pretrained(tmp_path / "prima")
    return tmp_path / "prima"


def test_an_old_folder_is_the_embedded_model(old: Path, tiny_model_folder: Path, tmp_path: Path) -> None:
    bundle, new = load(old, device="cpu"), load(tiny_model_folder, device="cpu")
    assert type(bundle.model) is MiniModel
    of_folder = {"architectures", "_name_or_path"}
    first, second = (m.model.config.to_dict() for m in (bundle, new))
    assert {name for name in first | second if first.get(name) != second.get(name)} <= of_folder
    first, second = bundle.model.state_dict(), new.model.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    bundle.model.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["model_type"] == "prima_mini"


def test_any_aid_in_use_tells_an_old_folder(old: Path) -> None:
    config = load_config(rewrite(old, content_queries=0, slot_relevance=False))
    assert isinstance(config, MiniConfig)


def test_prima_stays_prima(prima: Path) -> None:
    assert type(load(prima, device="cpu").model) is PrimaModel
    off = {"content_queries": 0, "slot_classes": [], "label_reader_config": None, "label_reader_size": 320}
    assert type(load_model(rewrite(prima, **off), torch.float32)) is PrimaModel


def test_a_run_goes_on_from_an_old_checkpoint(old: Path, tiny_model_folder: Path) -> None:
    model = load(tiny_model_folder, device="cpu").model
    wanted = {name: weight.clone() for name, weight in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    restore(model, old)
    assert all(torch.equal(weight, wanted[name]) for name, weight in model.state_dict().items())
