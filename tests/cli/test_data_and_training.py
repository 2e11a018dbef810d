"""`segue data`, `segue eval` and `segue train` through their front door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

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
    assert (shuffled["n"], shuffled["header"]["shuffle_images"]) == (4, True)
    assert shuffled["mean_iou"] is not None
    assert main([*arguments, "--out", str(tmp_path / "b")]) == 2
    assert "another evaluation" in capsys.readouterr().err


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
    recipe.write_text("stage: talk")
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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """What `segue train` asks the trainer for: recipe, and the overrides as a mapping."""
    seen: list[dict[str, Any]] = []

    def train(recipe: Path, out: Path, overrides: list[str], **named: Any) -> Path:
        changes = {key: json.loads(value) for key, _, value in (o.partition("=") for o in overrides)}
        seen.append({"recipe": recipe, **changes, **named})
        return tmp_path

    monkeypatch.setattr("segue.training.run.train", train)
    monkeypatch.chdir(tmp_path)
    for name in ("a.json", "b"):
        (tmp_path / name).write_text("{}")
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    return seen


def test_own_data_become_a_recipe(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    from segue.training.finetune.defaults import DEFAULT_RECIPE

    out = ["--out", str(tmp_path / "run")]
    first = ["--model", "segue-mini", "--data", "a.json", "--images", "photos", "--val", "b.json"]
    assert main(["train", *first, "--steps", "30", "--cache-features", "--set", "data.seed=4", *out]) == 0
    two = ["--data", "a.json::0.25", "--images", "x", "--data", "b", "--images", "y", "--format", "coco"]
    assert main(["train", *two, "--report-to", "tensorboard", "--dry-run", *out]) == 0
    assert asked == [
        {
            "recipe": DEFAULT_RECIPE,
            "model.start": "segue-mini",
            "data.own": [{"path": "a.json", "images": "photos"}],
            "data.val": {"path": "b.json", "images": "photos"},
            "optimiser.max_steps": 30,
            "finetune.cache_features": True,
            "data.seed": 4,
            "dry_run": False,
            "resume": True,
        },
        {
            "recipe": DEFAULT_RECIPE,
            "data.own": [
                {"path": "a.json", "images": "x", "format": "coco", "weight": 0.25},
                {"path": "b", "images": "y", "format": "coco"},
            ],
            "report_to": ["tensorboard"],
            "dry_run": True,
            "resume": True,
        },
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to train on"),
        (["--data", "a.json::much"], "weight of a data set"),
        (["--data", "a.json::-1"], "weight of a data set"),
        (
            ["--data", "a", "--data", "b", "--data", "c", "--images", "x", "--images", "y"],
            "--images does not",
        ),
    ],
)
def test_own_data_that_make_no_recipe(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_file_with_colons_in_its_name_is_a_path(tmp_path: Path) -> None:
    from segue.verbs import split_weight

    odd = tmp_path / "a::3"
    odd.write_text("{}")
    assert split_weight(str(odd)) == (str(odd), None)
    assert split_weight(f"{odd}::0.5") == (str(odd), 0.5)


def test_own_data_as_fixed_records(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "deeper" / "fixed.jsonl"
    arguments = ["data", "own", str(scenes), "--split", "test", "--count", "3", "--seed", "2"]
    assert main([*arguments, "--out", str(out)]) == 0
    first = out.read_text()
    records = list(read_jsonl(out))
    assert len(records) == 3
    for record in records:
        assert all((out.parent / image.path).is_file() for image in record.images), "as `segue eval` reads it"
        assert not any(Path(image.path).is_absolute() for image in record.images)
    assert main([*arguments, "--out", str(out)]) == 0
    assert out.read_text() == first
    assert {r.id for r in records} <= {r.id for r in read_jsonl(scenes)}


def test_own_data_that_point(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.full((40, 60, 3), 80, np.uint8)
    boxes = {1: (5, 5, 20, 20), 2: (30, 10, 20, 20)}
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "mug"}]}
    for number, (left, top, width, height) in boxes.items():
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        content["images"].append({"id": number, "file_name": f"{number}.png", "height": 40, "width": 60})
        right, bottom = left + width, top + height
        outline = [left, top, right, top, right, bottom, left, bottom]
        content["annotations"].append(
            {"id": number, "image_id": number, "category_id": 1, "segmentation": [outline]}
        )
    (tmp_path / "mugs.json").write_text(json.dumps(content))
    out = tmp_path / "drawn" / "mugs.jsonl"
    command = ["data", "own", str(tmp_path / "mugs.json"), "--out", str(out), "--count", "20"]
    assert main([*command, "--regions", "1"]) == 0
    records = list(read_jsonl(out))
    assert len(records) == 20
    assert all(record.turns[0].spans for record in records)
    again = [image for record in records for image in record.images if "~" in image.image_id]
    assert again
    for image in again:
        assert image.path.startswith("mugs_pictures/")
        assert (out.parent / image.path).is_file()
    capsys.readouterr()
    assert main(["data", "own", str(out), "--out", str(tmp_path / "o.jsonl"), "--regions", "1"]) == 2
    assert "bring their own questions" in capsys.readouterr().err
