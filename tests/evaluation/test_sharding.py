"""Several processes answer what one would have answered, each conversation once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segue.cli import main

pytestmark = pytest.mark.slow


def turns(path: Path) -> list[tuple[str, list[str]]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(line["id"], [turn["markup"] for turn in line["turns"]]) for line in lines]


def test_shards_say_what_one_process_says(tiny_model_folder: Path, tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    assert main(["data", "scenes", "--seed", "5", "--count", "5", "--size", "64", "--out", str(scenes)]) == 0
    common = ["eval", "--model", str(tiny_model_folder), "--data", str(scenes / "conversations.jsonl"),
              "--device", "cpu", "--no-progress", "--no-report"]  # fmt: skip
    one, two = tmp_path / "one", tmp_path / "two"
    assert main([*common, "--out", str(one)]) == 0
    assert main([*common, "--out", str(two), "--shards", "2", "--teacher-forced"]) == 0
    assert turns(two / "predictions.jsonl") == turns(one / "predictions.jsonl")
    assert not list(two.glob("*.shard-*"))
    alone, shared = (json.loads((out / "metrics.json").read_text()) for out in (one, two))
    assert shared["mean_iou"] == alone["mean_iou"]
    assert shared["header"]["model"] == alone["header"]["model"]
    assert shared["header"]["weights_sha256"] == alone["header"]["weights_sha256"]
    assert "mean_iou" in shared["teacher_forced"]
    # A part is lost: only it is asked again.
    path = two / "predictions.jsonl"
    before = path.read_text().splitlines(keepends=True)
    path.write_text("".join(before[:2] + before[3:]))
    assert main([*common, "--out", str(two), "--shards", "2", "--teacher-forced"]) == 0
    after = path.read_text().splitlines(keepends=True)
    assert [line for k, line in enumerate(after) if k != 2] == [
        line for k, line in enumerate(before) if k != 2
    ]
