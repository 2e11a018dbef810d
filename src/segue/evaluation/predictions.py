"""Files of predictions: what was answered, one conversation a line, whoever answered it.

    {"id": "t/0", "turns": [{"turn": 1, "text": "The red mug.", "groundings": [{"image_index": 0, "phrase":
     "red mug", "segmentation": {"size": [480, 640], "counts": "..."}}]}]}

`segue eval` writes such a file and reads any other of the form; docs/evaluation.md describes it and COCO's
results. A line is written whole or not at all, and is on the disk before the next question is asked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segue import masks
from segue.errors import InputError, RecordError, SegueError
from segue.evaluation.samples import Key, Sample
from segue.metrics.matching import GroundedMask

Line = dict[str, Any]
"""One conversation of a file, as JSON has it."""


@dataclass(frozen=True)
class Answer:
    """What was said to one question.

    Attributes:
        text: Without tags; empty when there is no answer.
        masks: What was drawn; the phrase is empty where the answer has none.
        failure: Why there is no answer; empty when there is one.
        seconds: That it took.
    """

    text: str = ""
    masks: tuple[GroundedMask, ...] = ()
    failure: str = ""
    seconds: float = 0.0


MISSING = Answer(failure="no prediction")
"""Stands for an answer that the file does not hold; it counts zero."""


def append_line(path: Path, line: Line) -> None:
    """Write one conversation, so that it is on the disk when this returns."""
    data = (json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n").encode()
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def drop_half_line(path: Path) -> None:
    """Cut what a killed process left of a line at the end of the file."""
    with path.open("rb+") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)


def read_lines(path: Path) -> Iterator[tuple[str, Line]]:
    """Every line of a file with its place, unchecked beyond being an object with an `id`.

    Raises:
        RecordError: A line is not.
    """
    for where, line in read_objects(path):
        if not isinstance(line.get("id"), str):
            raise _wrong(where, 'an object with "id", the id of a conversation', str(line)[:80])
        yield where, line


def read_objects(path: Path, what: str = "predictions") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every line of a file with its place, unchecked beyond being an object.

    Args:
        path: The file; blank lines are skipped.
        what: It holds, for messages.

    Raises:
        InputError: The file cannot be read. RecordError: a line is no object.
    """
    try:
        opened = path.open("rb")
    except OSError as error:
        raise InputError(
            f"The {what} cannot be read.",
            expected=f"a file of {what}",
            found=error.strerror or str(error),
            where=str(path),
            fix="check the path",
        ) from None
    with opened:
        for number, raw in enumerate(opened, start=1):
            if not raw.strip():
                continue
            where = f"{path}:{number}"
            try:
                line = json.loads(raw)
            except ValueError as error:
                raise _wrong(where, "one JSON object", f"{error}") from None
            if not isinstance(line, dict):
                raise _wrong(where, "one JSON object", str(line)[:80])
            yield where, line


def read_predictions(path: Path) -> dict[Key, Answer]:
    """Read a file of predictions.

    A line is a conversation with its `turns`, or a single answer (`turn` 1 where it names none). Unknown
    fields are passed over, so that files of other programs can be read as they are.

    Raises:
        RecordError: A line is wrong, or two lines answer one question.
    """
    found: dict[Key, Answer] = {}
    for where, line in read_lines(path):
        turns = line.get("turns", [line])
        if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            raise _wrong(where, '"turns", a list of objects', str(turns)[:80])
        for position, turn in enumerate(turns, start=1):
            number = turn.get("turn", position)
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise _wrong(where, '"turn", the number of the answer from 1', repr(number))
            key = (line["id"], number)
            if key in found:
                raise _wrong(where, "one answer to each question", f"a second one to turn {number}")
            found[key] = read_answer(turn, where)
    return found


def read_answer(turn: Mapping[str, Any], where: str) -> Answer:
    """One answer from its JSON.

    Raises:
        RecordError: A field has a wrong type, or a mask is damaged.
    """
    text, failure, seconds = (turn.get(name, kind()) for name, kind in _FIELDS.items())
    for name, value in (("text", text), ("failure", failure)):
        if not isinstance(value, str):
            raise _wrong(where, f'"{name}", a text', repr(value)[:80])
    groundings = turn.get("groundings", [])
    if not isinstance(groundings, list):
        raise _wrong(where, '"groundings", a list', repr(groundings)[:80])
    marks = tuple(_mark(g, f"{where}, grounding {k + 1}") for k, g in enumerate(groundings))
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    return Answer(text, () if failure else marks, failure, float(seconds) if number else 0.0)


def answers_of(lines: Iterable[Line], where: str = "predictions.jsonl") -> dict[Key, Answer]:
    """The answers of lines that are in memory."""
    return {(line["id"], turn["turn"]): read_answer(turn, where) for line in lines for turn in line["turns"]}


_FIELDS = {"text": str, "failure": str, "seconds": float}


def _mark(entry: Any, where: str) -> GroundedMask:
    if not isinstance(entry, dict):
        raise _wrong(where, "an object", repr(entry)[:80])
    image, phrase = entry.get("image_index", 0), entry.get("phrase", "")
    if not isinstance(image, int) or isinstance(image, bool) or not isinstance(phrase, str):
        raise _wrong(
            where, '"image_index", a number from 0, and "phrase", a text', f"{image!r}, {phrase!r}"[:80]
        )
    return GroundedMask(image, phrase, _rle(entry.get("segmentation"), where))


def _rle(segmentation: Any, where: str) -> masks.RLE | None:
    """A mask as the metrics want it; None, for nothing drawn, stays None."""
    if segmentation is None:
        return None
    if not isinstance(segmentation, dict):
        raise _wrong(where, '"segmentation", COCO RLE {"size": [height, width], "counts": "..."}',
                     repr(segmentation)[:80])  # fmt: skip
    try:
        masks.check_rle(segmentation)
        if isinstance(segmentation["counts"], str):
            return {"size": list(segmentation["size"]), "counts": segmentation["counts"]}
        return masks.encode(masks.decode(segmentation))
    except SegueError as error:
        raise _wrong(where, error.expected, error.found) from None


def read_coco_results(
    path: Path, samples: Iterable[Sample], image_names: Mapping[str, list[set[str]]]
) -> dict[Key, Answer]:
    """Read COCO results: a list of `{"image_id", "segmentation"}` with, if there is one, a `phrase`.

    They say which image a mask belongs to but not which question, so they fit data with one question to an
    image: ReasonSeg, grounded captions. All masks of the file count, whatever their `score`: leave out those
    that are not meant. `category_name` and `caption` are taken for a phrase too.

    Args:
        path: The JSON file.
        samples: Of the data.
        image_names: By conversation, for each image all that an `image_id` may call it.

    Raises:
        RecordError: A wrong entry. InputError: An image belongs to several questions, or to none.
    """
    by_name: dict[str, set[tuple[Key, int]]] = {}
    keys = []
    for sample in samples:
        keys.append(sample.key)
        for index, names in enumerate(image_names[sample.conversation_id]):
            for name in names:
                by_name.setdefault(name, set()).add((sample.key, index))
    found: dict[Key, list[GroundedMask]] = {}
    for number, entry in enumerate(_list_of(path), start=1):
        where = f"{path}, result {number}"
        if not isinstance(entry, dict) or "image_id" not in entry:
            raise _wrong(where, 'an object with "image_id" and "segmentation"', repr(entry)[:80])
        places = by_name.get(str(entry["image_id"]), set())
        if len(places) != 1:
            raise InputError(
                "A COCO result does not say which question it answers."
                if places
                else "A COCO result is of an image that the data do not have.",
                expected="an image_id of exactly one question",
                found=f"image_id {entry['image_id']!r} of {len(places)} questions",
                where=where,
                fix="write JSONL predictions instead, which name conversation and turn (docs/evaluation.md)",
            )
        ((key, index),) = places
        phrase = next((entry[n] for n in ("phrase", "category_name", "caption") if n in entry), "")
        found.setdefault(key, []).append(
            GroundedMask(index, str(phrase), _rle(entry.get("segmentation"), where))
        )
    # No result is an answer without a mask: a COCO file cannot say that a question failed.
    return {key: Answer(masks=tuple(found.get(key, ()))) for key in keys}


def is_coco_results(path: Path) -> bool:
    """Whether a file of predictions is one JSON list."""
    with path.open("rb") as file:
        return file.read(256).lstrip().startswith(b"[")


def _list_of(path: Path) -> list[Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise _wrong(str(path), "a JSON list", str(error)) from None
    if not isinstance(content, list):
        raise _wrong(str(path), "a JSON list", type(content).__name__)
    return content


def _wrong(where: str, expected: str, found: str) -> RecordError:
    return RecordError(
        "A prediction cannot be read.",
        expected=expected,
        found=found,
        where=where,
        fix="write it as docs/evaluation.md describes",
    )
