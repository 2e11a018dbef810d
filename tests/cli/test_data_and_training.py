"""`segue data`, `segue eval` and `segue train` through their front door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segue.cli import main
from segue.records import read_jsonl


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    arguments = ["data", "scenes", "--seed", "5", "--count", "4", "--size", "96", "--out", str(folder)]
    assert main(arguments) == 0
    return folder / "conversations.jsonl"


def test_scenes_are_records_with_images_beside_them(scenes: Path) -> None:
    conversations = list(read_jsonl(scenes))
    assert len(conversations) == 4
    for conversation in conversations:
        assert all((scenes.parent / image.path).is_file() for image in conversation.images)


def test_evaluation_of_scenes(
    scenes: Path, tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "eval",
        "--model",
        str(tiny_model_folder),
        "--data",
        str(scenes),
        "--device",
        "cpu",
        "--no-progress",
    ]
    assert main([*arguments, "--out", str(tmp_path / "a"), "--limit", "3"]) == 0
    metrics = json.loads((tmp_path / "a" / "metrics.json").read_text())
    assert metrics["n"] == 3
    assert metrics["failures"]["count"] == 0
    assert "phrase_f1" in metrics
    assert "images: " in capsys.readouterr().out
    assert main([*arguments, "--out", str(tmp_path / "b"), "--shuffle-images", "--progress"]) == 0
    shuffled = json.loads((tmp_path / "b" / "metrics.json").read_text())
    assert (shuffled["n"], shuffled["mean_iou"], shuffled["shuffle_images"]) == (4, None, True)


def test_evaluation_names_what_is_wrong(
    tiny_model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(data: Path) -> str:
        out = str(tmp_path / "out")
        assert main(["eval", "--model", str(tiny_model_folder), "--data", str(data), "--out", out]) == 2
        return capsys.readouterr().err

    assert "no such file of records" in run(tmp_path / "missing.jsonl")
    (tmp_path / "broken.jsonl").write_text('{"schema": "gconv/1"}\n')
    assert "broken.jsonl:1" in run(tmp_path / "broken.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    assert "nothing to evaluate" in run(tmp_path / "empty.jsonl")


@pytest.mark.parametrize(
    "arguments",
    [["scenes", "--split", "nowhere"], ["scenes", "--count", "0"], ["photos", "--coco", "missing.json"],
     ["photos", "--coco", "missing.json", "--split", "nowhere"]],
)  # fmt: skip
def test_data_that_cannot_be_made(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_training_passes_its_arguments_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, seen = tmp_path / "r.yaml", []

    def train(*args: Any, **named: Any) -> Path:
        seen.append((args, named))
        return tmp_path

    monkeypatch.setattr("segue.training.run.train", train)
    recipe.write_text("stage: masks")
    out = tmp_path / "out"
    arguments = [
        "train",
        str(recipe),
        "--out",
        str(out),
        "--set",
        "a.b=1",
        "--set",
        "c=d",
        "--dry-run",
        "--no-resume",
    ]
    assert main(arguments) == 0
    assert seen == [((recipe, out), {"overrides": ["a.b=1", "c=d"], "dry_run": True, "resume": False})]


def test_a_recipe_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(tmp_path / "r.yaml"), "--out", str(tmp_path)]) == 2
    assert "There is no such recipe." in capsys.readouterr().err
