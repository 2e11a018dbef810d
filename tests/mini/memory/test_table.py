"""The table of both arms: answers judged by hand, and the whole script at the smallest size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue import masks
from segue.errors import InputError
from segue.evaluation.predictions import Answer
from segue.evaluation.samples import targets_of
from segue.metrics.matching import GroundedMask
from segue.mini.memory.build import build
from segue.mini.memory.dialogues import MOVES
from segue.mini.memory.table import Scores, judge, judge_run, marked_iou, spread, table
from segue.records import Conversation, read_jsonl

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the script makes it, with the data alone."""
    out = tmp_path_factory.mktemp("memory")
    build(out / "test", 5, 5, "test", 64)
    return out


def marks(conversation: Conversation, turn: int) -> list[GroundedMask]:
    return [target.mark for target in targets_of(conversation, 2 * turn + 1)]


def answer(*said: GroundedMask) -> Answer:
    return Answer(masks=said)


def test_answers_judged(built: Path) -> None:
    (record, *_) = read_jsonl(built / "test" / "conversations.jsonl")
    first, second, third = (marks(record, k)[0] for k in range(3))
    found = judge(record, [answer(first), answer(first), answer(third)])
    assert [one.move for one in found] == ["named", found[1].move, "other"]
    assert [one.iou for one in found] == [1.0, 0.0, 1.0]
    # The words of the second answer say "thing" whatever is marked.
    assert [one.phrases.f1 for one in found] == [1.0, 1.0, 1.0]
    called = GroundedMask(third.image_index, "green house", third.rle)
    assert judge(record, [answer(first), Answer(failure="x"), answer(called)])[1].phrases.f1 == 0.0
    scores = Scores.of([judge(record, [answer()] * 2 + [answer(called)])[2], found[2]])
    assert (scores.right, scores.iou, scores.f1) == (1.0, 1.0, 0.5)
    assert second.rle is not None


def test_what_is_marked_elsewhere_counts_against_it(built: Path) -> None:
    (record, *_) = read_jsonl(built / "test" / "conversations.jsonl")
    targets = targets_of(record, 5)
    true = targets[0].mark
    assert true.rle is not None
    area = masks.area(true.rle)
    block = np.zeros((64, 64), bool)
    block[:8, :8] = True
    other = GroundedMask(1 - true.image_index, "x", masks.encode(block))
    assert marked_iou(answer(true, other), targets) == pytest.approx(area / (area + 64))
    assert marked_iou(answer(other), targets) == 0.0
    assert marked_iou(answer(), targets) == 0.0
    assert marked_iou(answer(), []) == 1.0


def test_spread() -> None:
    assert spread([0.5]) == "0.500"
    assert spread([0.4, 0.5, 0.6]) == "0.500 ± 0.100"


def predict(built: Path, arm: str, right: set[int]) -> None:
    """Write what an arm said: the truth, and in dialogues that are not right nothing at turn 3."""
    folder = built / arm / "own"
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, record in enumerate(read_jsonl(built / "test" / "conversations.jsonl")):
        turns: list[dict[str, Any]] = []
        for turn in range(3):
            said = marks(record, turn) if turn < 2 or number in right else []
            groundings = [
                {"phrase": m.phrase, "image_index": m.image_index, "segmentation": m.rle} for m in said
            ]
            turns.append({"turn": turn + 1, "text": "", "groundings": groundings})
        lines.append(json.dumps({"id": record.id, "turns": turns}) + "\n")
    (folder / "predictions.jsonl").write_text("".join(lines))
    (folder / "metrics.json").write_text("{}")


def test_both_arms(built: Path) -> None:
    with pytest.raises(InputError, match="nothing to put into a table"):
        table(built)
    for seed, (without, remembering) in enumerate((({0}, {0, 1, 2}), ({0, 1}, {0, 1, 2, 3}))):
        predict(built, f"without_{seed}", without)
        predict(built, f"with_{seed}", remembering)
    # An evaluation that was killed is left out.
    predict(built, "with_2", set())
    (built / "with_2" / "own" / "metrics.json").unlink()
    text = table(built)
    assert "| its own earlier answers | without memory | 2 | 0.300 ± 0.141 | 0.300 ± 0.141 |" in text
    assert "| its own earlier answers | with memory | 2 | 0.700 ± 0.141 | 0.700 ± 0.141 |" in text
    assert "| with memory | 1.000 ± 0.000 | 1.000 ± 0.000 | 0.700 ± 0.141 |" in text
    assert "true earlier answers" not in text, "not asked"
    moves = next(line for line in text.splitlines() if line.startswith("| without memory, its own"))
    assert moves.count("0.000 ± 0.000") == len(MOVES) - 2, "right in two ways alone"
    turns = judge_run(built / "with_1" / "own", list(read_jsonl(built / "test" / "conversations.jsonl")))
    assert [len(turn) for turn in turns] == [5, 5, 5]


@pytest.mark.slow
def test_the_whole_script(tiny_model_folder: Path, tmp_path: Path) -> None:
    segue = tmp_path / "segue"
    segue.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m segue.cli "$@"\n')
    segue.chmod(0o755)
    short = {"STEPS": "2", "TRAIN": "5", "TEST": "5", "SEEDS": "0", "SIZE": "64", "BATCH": "2"}
    known = {"SEGUE": str(segue), "PYTHON": sys.executable, "PYTHONPATH": str(REPOSITORY / "src")}
    command = ["bash", str(REPOSITORY / "recipes" / "compare_memory.sh"), str(tiny_model_folder)]
    for _ in range(2):
        done = subprocess.run(
            [*command, str(tmp_path / "out")],
            env=os.environ | known | short, capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
    text = (tmp_path / "out" / "table.md").read_text()
    assert done.stdout.endswith(text)
    assert text.count("| with memory | 1 |") == text.count("| without memory | 1 |") == 2
