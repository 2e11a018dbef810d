"""What presets need is computed from their parameters, and what is here is looked up, not assumed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from safetensors import safe_open

from segue.models import requirements as module
from segue.models.auto import WEIGHTS_FOLDER, load
from segue.models.presets import PRESETS
from segue.models.requirements import memory, requirements


def test_prima_7b() -> None:
    needs = requirements(PRESETS["prima-7b"])
    assert needs.family == "prima"
    # Vicuna's blocks: 32 layers of 4 x 4096 x 4096 attention and 3 x 4096 x 11008 feed-forward.
    assert needs.quantised == 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert needs.parameters > needs.quantised + 2 * 32008 * 4096
    kept = 2 * (needs.parameters - needs.quantised)
    assert needs.bytes["bf16"] == 2 * needs.parameters
    assert needs.bytes["8bit"] == kept + needs.quantised
    assert needs.bytes["4bit"] == pytest.approx(kept + 0.516 * needs.quantised, rel=1e-3)
    licences = {part.hub: part.licence for part in needs.parts}
    assert licences["facebook/sam-vit-huge"] == "Apache-2.0"
    assert "Llama 2" in licences["lmsys/vicuna-7b-v1.5"]


def test_installed_weights_are_counted_as_they_are() -> None:
    needs = requirements(PRESETS["segue-mini"])
    with safe_open(WEIGHTS_FOLDER / "segue-mini" / "model.safetensors", "pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    # Tables that are stored and not learned (how presence is put right) are no parameters.
    learned = {name for name, _ in load("segue-mini", "cpu").model.named_parameters()}
    assert needs.parameters == sum(math.prod(shape) for name, shape in shapes.items() if name in learned)


def test_memory_of_nothing_quantised() -> None:
    assert set(memory(1000, 0).values()) == {2000}


@pytest.mark.parametrize(("files", "cached"), [([], False), (["model.safetensors"], True), (["w.bin"], True)])
def test_presence_asks_for_weights(
    files: list[str], cached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in files:
        (tmp_path / name).touch()
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache", lambda hub, name: str(tmp_path / "config.json")
    )
    assert module.is_cached("a/b") is cached
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda hub, name: None)
    assert module.is_cached("a/b") is False
