"""`segue models` and `segue info`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segue.cli import main
from segue.cli.models import PARTS, describe
from segue.models.presets import PRESETS

MILLION = 1_000_000


def test_the_presets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    # Whole words and figures: seven columns must fit into eighty characters.
    for word in ("prima_mini", "parts", "13.28 M", "26.6 MB", "17.8 GB"):
        assert word in printed
    for name in (*PRESETS, "facebook/sam-vit-huge", "Apache-2.0", "bf16", "4 bit", "agent:"):
        assert name in printed


def test_the_list_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    models = {model["name"]: model for model in content["models"]}
    assert set(models) == set(PRESETS)
    assert (models["segue-mini"]["weights"], models["tiny"]["weights"]) == ("installed", "none")
    for model in models.values():
        assert model["bytes"]["4bit"] < model["bytes"]["8bit"] < model["bytes"]["bf16"]
        assert model["bytes"]["bf16"] == 2 * model["parameters"]
    sam = next(part for part in content["parts"] if part["hub"] == "facebook/sam-vit-huge")
    assert "prima-7b" in sam["used_by"]


def test_prima_7b_has_the_parameters_of_its_parts() -> None:
    content = describe("prima-7b")
    counts = {part["part"]: part["parameters"] for part in content["parts"]}
    # The components' own model cards: EVA-CLIP-g without its last block, DINOv2-L, BLIP-2's Q-Former,
    # Vicuna-7B, SAM-H.
    expected = {
        "vision_model": 986,
        "aux_vision_model": 304,
        "reader": 186,
        "language_model": 6738,
        "sam": 641,
    }
    assert {name: round(counts[name] / MILLION) for name in expected} == expected
    assert set(counts) <= set(PARTS)
    assert content["parameters"] == sum(counts.values())
    named = {part["part"]: part["checkpoint"] for part in content["parts"]}
    assert named["vision_model"] == named["reader"] == "Salesforce/instructblip-vicuna-7b"
    assert named["fusion"] is None


def test_a_folder_shows_its_files(tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tiny_model_folder), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    files = {Path(file["path"]).name: file["bytes"] for file in content["files"]}
    assert files["model.safetensors"] == (tiny_model_folder / "model.safetensors").stat().st_size
    assert {"pixel_values", "pixel_values_aux", "pixel_values_sam"} == {s["name"] for s in content["streams"]}
    from segue.models.auto import load

    loaded = load(tiny_model_folder, "cpu").model
    assert content["parameters"] == sum(p.numel() for p in loaded.parameters())


def test_the_table(tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tiny_model_folder)]) == 0
    printed = capsys.readouterr().out
    assert "image stream pixel_values_sam: 48 px, pad" in printed
    assert "model.safetensors" in printed


def test_nothing_of_that_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "segue-maxi"]) == 2
    assert "segue models" in capsys.readouterr().err
