"""`segue ask --batch`: questions from a file, several conversations at a time, safe against a kill.

    {"id": "kitchen-1", "images": ["a.jpg", "b.jpg"], "question": "Which mug is larger?"}
    {"images": ["c.jpg"], "questions": ["What is there?", "And behind it?"]}

Paths are relative to the file. The output gets a line in `answers.jsonl` for each conversation, and a folder
of its name with the answers as `segue ask --out` writes them; the line comes last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from segue.errors import InputError, RecordError, SegueError
from segue.evaluation.asking import evaluation_folder
from segue.evaluation.evaluate import weights_hash
from segue.evaluation.predictions import Line, append_line, drop_half_line, read_lines, read_objects
from segue.evaluation.samples import said
from segue.inference.batching import BATCH_SIZE, Outcome, ask_in_turns
from segue.inference.inputs import check_question
from segue.inference.loaded_model import LoadedModel
from segue.inference.session import GroundingSession

ANSWERS = "answers.jsonl"

# A name of a folder on every system, and never `..`.
_NAME = re.compile(r"[\w-][\w.-]{0,99}", re.ASCII)


@dataclass(frozen=True)
class Asked:
    """One conversation of a file.

    Attributes:
        id: Names its line and its folder.
        images: Paths of its pictures.
        questions: In order; each sees the answers before it.
    """

    id: str
    images: tuple[str, ...]
    questions: tuple[str, ...]


def read_questions(path: Path) -> list[Asked]:
    """Read a file of questions; pictures are not opened.

    Raises:
        InputError: It cannot be read, or is empty. RecordError: a line that is none, named "file:line".
    """
    found: dict[str, Asked] = {}
    for number, (where, line) in enumerate(read_objects(path, "questions"), start=1):
        asked = _read(line, where, path.parent, str(number))
        if asked.id in found:
            raise _wrong(where, "an id of its own for every line", f"{asked.id!r} again")
        found[asked.id] = asked
    if not found:
        raise InputError(
            "There is nothing to ask.",
            expected="a line for each conversation",
            found="none",
            where=str(path),
            fix='write lines such as {"images": ["a.jpg"], "question": "What is there?"}',
        )
    return list(found.values())


def _read(line: dict[str, Any], where: str, folder: Path, number: str) -> Asked:
    unknown = sorted(line.keys() - {"id", "images", "question", "questions"})
    if unknown:
        raise _wrong(where, "id, images, and question or questions", ", ".join(unknown))
    name = line.get("id", number)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _wrong(where, "an id of letters, digits, `_`, `-` and dots that can name a folder", repr(name))
    images, questions = line.get("images"), line.get("questions", [line.get("question")])
    if not _are_texts(images):
        raise _wrong(where, '"images", a list of paths', repr(images)[:80])
    if not _are_texts(questions) or ("question" in line) == ("questions" in line):
        raise _wrong(where, '"question", a text, or "questions", a list of them', repr(questions)[:80])
    try:
        asked = tuple(check_question(question) for question in questions)
    except InputError as error:
        raise _wrong(where, "a question in words", said(error)) from None
    return Asked(name, tuple(str(folder / image) for image in images), asked)


def _are_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) and text for text in value)


def answer_file(
    model: LoadedModel,
    asked: Sequence[Asked],
    out: Path,
    *,
    batch_size: int = BATCH_SIZE,
    pages: bool = True,
    overwrite: bool = False,
    precision: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> int:
    """Answer what has no line in the folder yet.

    A conversation whose images cannot be opened, and a question that fails, are written with the reason;
    nothing is skipped.

    Args:
        model: Who is asked.
        asked: The conversations.
        out: The folder. One that was begun with the same questions, model and options is gone on with.
        batch_size: Conversations at a time; does not change the answers.
        pages: Whether each conversation gets a folder with overlays and pages.
        overwrite: Begin anew whatever lies in the folder.
        precision: Of the model where it is not the usual one; answers of another are not mixed with these.
        progress: Called with (done, total).
        **options: See `segue.inference.batching.ask_together`.

    Returns:
        The number of conversations with a failure.

    Raises:
        InputError: The folder cannot be written, or holds answers to other questions.
    """
    described = {
        "model": model.name,
        "weights_sha256": None if model.path is None else weights_hash(model.path),
        "questions": [[one.id, list(one.images), list(one.questions)] for one in asked],
        "pages": pages,
        **(precision or {}),
        **options,
    }
    path = out / ANSWERS
    with evaluation_folder(out, described, overwrite=overwrite):
        failures = {}
        if path.exists():
            drop_half_line(path)
            failures = {line["id"]: _has_failed(line) for _, line in read_lines(path)}
        left = [one for one in asked if one.id not in failures]
        for start in range(0, len(left), batch_size):
            for line in _answered(model, left[start : start + batch_size], out if pages else None, options):
                append_line(path, line)
                failures[line["id"]] = _has_failed(line)
            if progress is not None:
                progress(len(failures), len(asked))
    return sum(failures.values())


def _answered(
    model: LoadedModel, asked: Sequence[Asked], pages: Path | None, options: dict[str, Any]
) -> list[Line]:
    lines: list[Line] = []
    opened: list[tuple[Asked, GroundingSession, Line]] = []
    for one in asked:
        lines.append({"id": one.id, "answers": []})
        try:
            opened.append((one, model.session(list(one.images)), lines[-1]))
        except SegueError as error:
            lines[-1]["answers"] = [{"question": q, "failure": said(error)} for q in one.questions]

    def note(place: int, turn: int, outcome: Outcome, seconds: float) -> None:
        one, _, line = opened[place]
        if isinstance(outcome, Exception):
            line["answers"].append({"question": one.questions[turn], "failure": said(outcome)})
        else:
            line["answers"].append(outcome.to_json())

    sessions = [session for _, session, _ in opened]
    ask_in_turns(sessions, [one.questions for one, _, _ in opened], note, **options)
    if pages is not None:
        for one, session, _ in opened:
            session.save(pages / one.id)
    return lines


def _has_failed(line: Line) -> bool:
    return any("failure" in answer for answer in line["answers"])


def _wrong(where: str, expected: str, found: str) -> RecordError:
    return RecordError(
        "A line of questions cannot be read.",
        expected=expected,
        found=found,
        where=where,
        fix='write lines such as {"id": "1", "images": ["a.jpg"], "question": "What is there?"}',
    )
