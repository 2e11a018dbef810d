"""An append-only file of JSON lines that survives being killed at any moment, even in the middle of a line.

A line counts once its newline is on the disk: `append` returns after fsync. What a killed process leaves of a
last line is cut when the file is opened again. Lines stay on disk; memory holds one number per key.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segue.errors import InputError, RecordError


class Ledger:
    """Lines by key; of lines with the same key the first one counts.

    Args:
        path: JSONL file, made when it does not exist. Each line is an object with a string "key".

    Raises:
        InputError: The file cannot be read or written.
        RecordError: A line that is not the last one is damaged, which no killed process leaves behind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._places: dict[str, int] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab+")
        except OSError as error:
            raise InputError(
                "The ledger of a generation cannot be opened.",
                expected="a file that may be read and written",
                found=str(error),
                where=str(path),
                fix="check the folder and its permissions",
            ) from None
        for place, line in self._lines():
            self._places.setdefault(line["key"], place)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def get(self, key: str) -> dict[str, Any] | None:
        """The line of a key, or None."""
        with self._lock:
            place = self._places.get(key)
            if place is None:
                return None
            self._file.seek(place)
            return json.loads(self._file.readline())

    def append(self, line: dict[str, Any], *, synced: bool = True) -> None:
        """Add a line; when this returns, the line survives a kill, and with `synced` also a power cut."""
        # As escapes: a reply may hold half of a surrogate pair, which UTF-8 cannot encode.
        coded = json.dumps(line, ensure_ascii=True).encode() + b"\n"
        with self._lock:
            # `get` moves the position. Writing in mode "a" goes to the end all the same, but the place must
            # be known.
            place = self._file.seek(0, os.SEEK_END)
            self._file.write(coded)
            self._file.flush()
            if synced:
                os.fsync(self._file.fileno())
            self._places.setdefault(line["key"], place)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All lines, in the order in which they were written."""
        with self.path.open("rb") as file:
            for coded in file:
                if coded.endswith(b"\n"):
                    yield json.loads(coded)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(byte, line) of every line; half of a last line is cut off the file."""
        self._file.seek(0)
        place = 0
        for number, coded in enumerate(self._file, start=1):
            if not coded.endswith(b"\n"):
                self._file.truncate(place)
                return
            try:
                line = json.loads(coded)
                if not isinstance(line["key"], str):
                    raise TypeError("key is no string")
            except (ValueError, KeyError, TypeError) as error:
                raise RecordError(
                    "A line of the ledger is damaged.",
                    expected='a JSON object with a string "key"',
                    found=f"{type(error).__name__}: {error}",
                    where=f"{self.path}, line {number}",
                    fix="delete this line: what it held will be asked for again",
                ) from None
            yield place, line
            place += len(coded)
