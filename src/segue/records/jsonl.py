"""Files of records: one JSON object a line, read lazily, written atomically."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from segue.errors import InputError, RecordError
from segue.files import atomic_writer
from segue.records.conversation import Conversation


class RecordReader:
    """The conversations of a file, read line by line while they are iterated over; see `read_jsonl`.

    Each iteration starts again at the first line.
    """

    def __init__(self, path: Path, collect: bool) -> None:
        self.path = path
        self.errors: list[RecordError] = []
        """With on_error="collect": what was wrong in the lines that the latest iteration left out."""
        self._collect = collect

    def __iter__(self) -> Iterator[Conversation]:
        self.errors.clear()
        # As bytes: a line that is not UTF-8 is one wrong line, and not the end of the file.
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    yield self._read(line, f"{self.path}:{number}")
                except RecordError as error:
                    if not self._collect:
                        raise
                    self.errors.append(error)

    def _read(self, line: bytes, where: str) -> Conversation:
        try:
            # Some editors put a byte order mark before the first line.
            text = line.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise RecordError(
                "A line is not UTF-8.",
                expected="UTF-8 text",
                found=f"byte 0x{line[error.start]:02x} at position {error.start}",
                where=where,
                fix="save the file as UTF-8",
            ) from None
        return Conversation.from_json(text.rstrip("\r\n"), where=where)


def read_jsonl(path: str | Path, on_error: Literal["raise", "collect"] = "raise") -> RecordReader:
    """Open a `gconv/1` file for reading; lines are read as the result is iterated over.

    Args:
        path: The file. Blank lines are skipped.
        on_error: "raise" stops at the first wrong line; "collect" leaves wrong lines out and keeps what was
            wrong with them in the reader's `errors`.

    Returns:
        An iterable of conversations.

    Raises:
        InputError: There is no such file. Later, while iterating, RecordError: a wrong line, named
            "file:line".
    """
    path = Path(path)
    if on_error not in ("raise", "collect"):
        raise InputError(
            "Unknown way of treating wrong lines.",
            expected='on_error "raise" or "collect"',
            found=repr(on_error),
            where="segue.records.read_jsonl",
            fix="choose one of the two",
        )
    if not path.is_file():
        raise InputError(
            "There is no such file of records.",
            expected="a .jsonl file with one conversation a line",
            found="a directory" if path.is_dir() else "nothing",
            where=str(path),
            fix="check the path",
        )
    return RecordReader(path, collect=on_error == "collect")


def write_jsonl(path: str | Path, conversations: Iterable[Conversation]) -> int:
    """Write a `gconv/1` file; it appears complete or not at all.

    Args:
        path: The file; missing folders are made, an existing file is replaced at the very end.
        conversations: May be a generator; one conversation is held at a time.

    Returns:
        How many were written.

    Raises:
        RecordError: The `meta` of a conversation holds something that JSON cannot (an array, NaN).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with atomic_writer(path, "wb") as file:
        for conversation in conversations:
            file.write(_line(conversation))
            count += 1
    return count


def _line(conversation: Conversation) -> bytes:
    try:
        line = json.dumps(conversation.to_json(), ensure_ascii=False, allow_nan=False)
        return f"{line}\n".encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordError(
            "A conversation cannot be written as JSON.",
            expected="plain strings, finite numbers, lists and dicts",
            found=str(error),
            where=f"meta of conversation {conversation.id!r}",
            fix="convert arrays with .tolist() and leave out what is not finite",
        ) from None
