"""Scoring is quick and lean: 5,000 answers of 6 masks at 640 x 480, from compressed masks."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from segue import masks

pytestmark = pytest.mark.slow
NAMES = ("red mug", "lamp", "chair leg", "dog", "window", "table top", "shelf", "cup handle")
SECONDS, MEBIBYTES = 60, 1024


def blobs(count: int, rng: np.random.Generator) -> list[masks.RLE]:
    """Ragged discs: rows of changing width, as outlines of things have."""
    found = []
    y, x = np.mgrid[:480, :640]
    for _ in range(count):
        top, left, radius = rng.integers(60, 420), rng.integers(60, 580), rng.integers(20, 140)
        ragged = radius * (1 + 0.15 * np.sin(rng.integers(3, 9) * np.arctan2(y - top, x - left)))
        found.append(masks.encode((y - top) ** 2 + (x - left) ** 2 < ragged**2))
    return found


def write(folder: Path, answers: int, rng: np.random.Generator) -> None:
    pool = blobs(400, rng)
    with (folder / "data.jsonl").open("w") as data, (folder / "predictions.jsonl").open("w") as predictions:
        for k in range(answers):
            chosen = [
                (NAMES[int(n)], pool[int(r)])
                for n, r in zip(rng.integers(8, size=6), rng.integers(400, size=6))
            ]
            text, spans = "", []
            for number, (name, _) in enumerate(chosen):
                spans.append({"start": len(text), "end": len(text) + len(name), "rids": [f"r{number}"]})
                text += f"{name}, "
            regions = [
                {"rid": f"r{n}", "image": 1, "kind": "object", "name": name, "mask": rle}
                for n, (name, rle) in enumerate(chosen)
            ]
            image = {"image_id": f"b:{k}", "path": f"{k}.png", "height": 480, "width": 640}
            turns = [
                {"role": "user", "text": "What is there?"},
                {"role": "assistant", "text": text, "spans": spans},
            ]
            record = {"schema": "gconv/1", "id": f"b/{k}", "task": "m4seg", "split": "test"}
            record |= {"images": [image], "regions": regions, "turns": turns}
            data.write(json.dumps(record) + "\n")
            groundings = [
                {
                    "image_index": 0,
                    "phrase": name,
                    "segmentation": rle if rng.random() < 0.5 else pool[int(rng.integers(400))],
                }
                for name, rle in chosen
            ]
            predictions.write(
                json.dumps({"id": f"b/{k}", "turns": [{"text": text, "groundings": groundings}]}) + "\n"
            )


def test_five_thousand_answers(tmp_path: Path) -> None:
    write(tmp_path, 5000, np.random.default_rng(0))
    command = [sys.executable, "-m", "segue.cli", "eval", "--no-report", "--out", str(tmp_path / "out")]
    command += ["--predictions", str(tmp_path / "predictions.jsonl"), "--data", str(tmp_path / "data.jsonl")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "30000" in done.stdout
    # Time of the processor: what others do on the machine must not decide.
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < SECONDS
    assert after.ru_maxrss / 1024 < MEBIBYTES
