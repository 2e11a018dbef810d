"""A killed evaluation goes on: nothing is asked twice, and no line is torn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segue.errors import InputError, RecordError
from segue.evaluation.asking import answer_missing, collect, evaluation_folder, missing
from segue.evaluation.predictions import append_line
from segue.records import Conversation, ImageRef, Turn

# Answers twenty conversations slowly and notes each question; run in a process of its own, to be killed.
CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from test_asking import records
from segue.evaluation.asking import answer_missing, collect, evaluation_folder, missing

folder = Path(sys.argv[1])

def answer(conversations, places):
    (conversation,) = conversations
    with (folder.parent / "asked.log").open("a") as log:
        log.write(conversation.id + "\\n")
    time.sleep(0.05)
    return [{{"id": conversation.id, "turns": [{{"turn": 1, "text": "x" * 20000}}]}}]

with evaluation_folder(folder, {{"model": "slow"}}):
    left = missing(collect(folder, "predictions", records()))
    answer_missing(folder / "predictions.jsonl", records(), left, answer)
"""


def records() -> list[Conversation]:
    turns = [Turn(role="user", text="What is there?"), Turn(role="assistant", text="Nothing.")]
    image = ImageRef(image_id="t:0", path="0.png", height=2, width=2)
    return [
        Conversation(id=f"t/{k}", task="scenes", split="test", images=[image], regions=[], turns=turns)
        for k in range(20)
    ]


def test_killed_runs_go_on_without_asking_twice(tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "asked.log"
    script = CHILD.format(here=str(Path(__file__).parent))
    kills = 0
    for least in (4, 12):
        child = subprocess.Popen([sys.executable, "-c", script, str(out)])
        deadline = time.monotonic() + 60
        while child.poll() is None and time.monotonic() < deadline:
            if log.exists() and len(log.read_text().splitlines()) >= least:
                os.kill(child.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.01)
        child.wait()
    assert kills == 2
    assert subprocess.run([sys.executable, "-c", script, str(out)], check=False).returncode == 0
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [record.id for record in records()]
    asked = log.read_text().splitlines()
    # Only the conversation that was under way when a kill came is asked again.
    assert len(asked) <= 20 + kills
    assert sorted(set(asked)) == sorted(record.id for record in records())


def test_parts_of_shards_are_merged_in_the_order_of_the_data(tmp_path: Path) -> None:
    data = records()[:4]
    for name, places in (("shard-1-of-2", (0, 2)), ("shard-2-of-2", (3,))):
        for place in places:
            append_line(tmp_path / f"predictions.{name}.jsonl", {"id": data[place].id, "turns": []})
    with (tmp_path / "predictions.shard-2-of-2.jsonl").open("a") as torn:
        torn.write('{"id": "t/1", "tur')
    found = collect(tmp_path, "predictions", data)
    assert missing(found) == [1]
    assert not list(tmp_path.glob("*.shard-*"))
    answer_missing(
        tmp_path / "predictions.jsonl", data, [1], lambda some, _: [{"id": c.id, "turns": []} for c in some]
    )
    assert missing(collect(tmp_path, "predictions", data)) == []
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["t/0", "t/1", "t/2", "t/3"]


def test_a_lost_parent_ends_the_work(tmp_path: Path) -> None:
    done: list[int] = []
    answer_missing(
        tmp_path / "p.jsonl",
        records(),
        [0, 1, 2],
        lambda some, _: [{"id": c.id, "turns": []} for c in some],
        progress=done.append,
        go_on=lambda: len(done) < 2,
    )
    assert done == [1, 2]


def test_a_folder_belongs_to_one_evaluation_and_one_process(tmp_path: Path) -> None:
    with (
        evaluation_folder(tmp_path, {"model": "a"}),
        pytest.raises(InputError, match="Another process"),
        evaluation_folder(tmp_path, {"model": "a"}),
    ):
        pass
    append_line(tmp_path / "predictions.jsonl", {"id": "t/0", "turns": []})
    with pytest.raises(InputError, match="another model"), evaluation_folder(tmp_path, {"model": "b"}):
        pass
    with evaluation_folder(tmp_path, {"model": "a"}):
        assert (tmp_path / "predictions.jsonl").exists()
    with evaluation_folder(tmp_path, {"model": "b"}, overwrite=True):
        assert not (tmp_path / "predictions.jsonl").exists()


def test_lines_of_other_data_are_not_passed_over(tmp_path: Path) -> None:
    append_line(tmp_path / "predictions.jsonl", {"id": "elsewhere", "turns": []})
    with pytest.raises(RecordError, match="no conversation"):
        collect(tmp_path, "predictions", records())


def test_an_older_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(InputError, match="not written by this version"), evaluation_folder(tmp_path, {}):
        pass
