"""Several processes answer what one would have answered, each conversation once; a killed command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
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


def test_a_killed_command_goes_on(tiny_model_folder: Path, tmp_path: Path) -> None:
    scenes, out = tmp_path / "scenes", tmp_path / "out"
    assert main(["data", "scenes", "--seed", "6", "--count", "40", "--size", "64", "--out", str(scenes)]) == 0
    arguments = ["eval", "--model", str(tiny_model_folder), "--data", str(scenes / "conversations.jsonl")]
    arguments += ["--device", "cpu", "--no-progress", "--no-report", "--out", str(out), "--shards", "2"]
    child = subprocess.Popen([sys.executable, "-m", "segue.cli", *arguments])
    deadline, before = time.monotonic() + 240, []
    while time.monotonic() < deadline and not before and child.poll() is None:
        time.sleep(0.01)
        before = [line for part in out.glob("*.shard-*.jsonl") for line in part.read_bytes().splitlines(True)]
    assert child.poll() is None, "it was to be killed while it asks"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    whole = {line for line in before if line.endswith(b"\n")}
    # The shards see that their parent is gone, and let go of the folder.
    while time.monotonic() < deadline and main(arguments) != 0:
        time.sleep(1)
    lines = (out / "predictions.jsonl").read_bytes().splitlines(True)
    assert len({json.loads(line)["id"] for line in lines}) == len(lines) == 40
    # With the seconds that they took, as they were written before the kill: they were not asked again.
    assert whole <= set(lines)
