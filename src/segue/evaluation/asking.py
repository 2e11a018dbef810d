"""Answer what is not answered yet: one line for each conversation, safe against a kill at any moment.

The folder of an evaluation holds `asked.json`, which says what was asked of whom. A run that finds the same
goes on where the last one stopped; one that finds another leaves the folder alone.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segue.errors import InputError, RecordError
from segue.evaluation.predictions import Line, append_line, drop_half_line, read_lines
from segue.files import make_folder, remove_unfinished, write_atomic
from segue.records import Conversation

ASKED = "asked.json"
LOCK = ".evaluation.lock"
OUTPUTS = ("predictions.jsonl", "answers.jsonl", "teacher_forced.jsonl", "metrics.json", "report.html", ASKED)

Answerer = Callable[[Sequence[Conversation], Sequence[int]], Sequence[Line]]
"""The lines of some conversations; the numbers are their places in the data."""


@contextmanager
def evaluation_folder(folder: Path, asked: dict[str, Any], *, overwrite: bool = False) -> Iterator[int]:
    """Take a folder for one evaluation, anew or to go on with it; yields the descriptor of its lock.

    Args:
        folder: Made when it does not exist.
        asked: What makes answers what they are: model, data, options. Must be JSON.
        overwrite: Begin anew even where another evaluation lies.

    Raises:
        InputError: Another evaluation lies there, or another process is at work in it.
    """
    make_folder(folder)
    with (folder / LOCK).open("a") as lock:
        try:
            # Held by the open file, hence by shards that outlive a killed parent too.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                "Another process is evaluating into this folder.",
                expected="a folder that nobody writes to",
                found="its lock is taken",
                where=str(folder),
                fix="wait for it to end, or choose another --out",
            ) from None
        remove_unfinished(folder)
        _begin(folder, asked, overwrite)
        yield lock.fileno()


def _begin(folder: Path, asked: dict[str, Any], overwrite: bool) -> None:
    path = folder / ASKED
    there = [name for name in OUTPUTS if (folder / name).exists()]
    if overwrite:
        for name in there:
            (folder / name).unlink()
        for part in folder.glob("*.shard-*.jsonl"):
            part.unlink()
    elif there:
        before = _read(path) if path.exists() else None
        if before != asked:
            different = (
                "its answers were not written by this version"
                if before is None
                else "another "
                + ", ".join(sorted(k for k in asked.keys() | before.keys() if asked.get(k) != before.get(k)))
            )
            raise InputError(
                "The output folder holds another evaluation.",
                expected="an empty folder, or the same evaluation to go on with",
                found=different,
                where=str(folder),
                fix="choose another --out, or add --overwrite to replace it",
            )
        return
    write_atomic(path, json.dumps(asked, indent=2, sort_keys=True) + "\n")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return None


def answer_missing(
    path: Path,
    conversations: Sequence[Conversation],
    places: Sequence[int],
    answer: Answerer,
    *,
    batch_size: int = 1,
    progress: Callable[[int], None] | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> None:
    """Append a line for each conversation.

    Args:
        path: The file.
        conversations: All of them.
        places: Which of them to answer, by number.
        answer: Makes the lines.
        batch_size: Conversations that are answered together.
        progress: Called with how many of `places` are done, after each batch.
        go_on: Asked before each batch; False ends the work.
    """
    for start in range(0, len(places), batch_size):
        if not go_on():
            return
        some = places[start : start + batch_size]
        for line in answer([conversations[place] for place in some], some):
            append_line(path, line)
        if progress is not None:
            progress(start + len(some))


def collect(folder: Path, stem: str, conversations: Sequence[Conversation]) -> list[Line | None]:
    """All lines that there are, by place in the data; parts of shards are merged into one file.

    Returns:
        For each conversation its line, or None where it has not been answered.

    Raises:
        RecordError: A line belongs to no conversation of the data.
    """
    main = folder / f"{stem}.jsonl"
    parts = sorted(folder.glob(f"{stem}.shard-*.jsonl"))
    places = {conversation.id: k for k, conversation in enumerate(conversations)}
    found: list[Line | None] = [None] * len(conversations)
    order = []
    for path in [main, *parts]:
        if not path.exists():
            continue
        drop_half_line(path)
        for where, line in read_lines(path):
            if line["id"] not in places:
                raise RecordError(
                    "A line of predictions belongs to no conversation of the data.",
                    expected="an id of the data",
                    found=repr(line["id"]),
                    where=where,
                    fix="choose another --out, or add --overwrite",
                )
            found[places[line["id"]]] = line
            order.append(places[line["id"]])
    if parts or order != sorted(order):
        lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in found if line is not None]
        write_atomic(main, "".join(lines))
        for part in parts:
            os.unlink(part)
    return found


def missing(found: Sequence[Line | None]) -> list[int]:
    """Places without a line."""
    return [place for place, line in enumerate(found) if line is None]
