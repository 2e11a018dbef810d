"""Skipped draws are written down once, and too many unusable images end the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segue.errors import InputError
from segue.training.finetune.skips import ENOUGH, Skip, SkipJournal


def skips(*numbers: int) -> list[dict[str, object]]:
    return [Skip(n, 0, f"c{n}", f"{n}.png", "damaged").to_json() for n in numbers]


def test_each_skip_is_a_line(tmp_path: Path) -> None:
    journal = SkipJournal(tmp_path / "skipped.jsonl")
    journal.take([], ["a.png"])
    assert not journal.path.exists()
    journal.take(skips(1, 2), ["b.png"])
    again = SkipJournal(tmp_path / "skipped.jsonl")
    again.take(skips(2, 3), [])
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3], "a resumed run meets step 2 again"
    assert lines[0] == {"step": 1, "place": 0, "conversation": "c1", "path": "1.png", "reason": "damaged"}
    assert (journal.count, again.count) == (2, 2)


def test_too_many_unusable_images_end_the_run() -> None:
    journal = SkipJournal(None)
    journal.take(skips(*range(4)), [f"{n}.jpg" for n in range(ENOUGH - 5)])  # 4 of 19: too few to judge
    journal.take([], ["19.jpg"])  # 4 of 20 is a fifth
    journal.take(skips(0, 1), [])  # the same ones again
    with pytest.raises(InputError, match=r"5 of 21 so far; the last: damaged"):
        journal.take(skips(9), [])
