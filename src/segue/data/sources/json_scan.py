"""Walk over a JSON object of any size, one list element at a time, with the byte range of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from segue.errors import RecordError

_CHUNK = 4 << 20  # bytes
_SPACE = " \t\n\r"
_NUMERIC = "+-.eE0123456789"

LIST_BEGINS: Final = object()
"""Value that `scan` gives where a list opens, so that empty lists are seen too."""


def scan(path: Path) -> Iterator[tuple[str, Any, int, int]]:
    """Read the members of the object in a JSON file.

    Yields:
        (key, value, first byte, last byte + 1). A list gives `LIST_BEGINS` and then each of its elements
        under the list's key; any other value is given whole. Texts are Latin-1 readings of their UTF-8 bytes,
        which leaves ids and ASCII as they are; decode the byte range again for the exact value.

    Raises:
        RecordError: The file is not there, or is not a JSON object.

    Source: paper silent; ours.
    """
    if not path.is_file():
        raise RecordError(
            "Annotation file not found", expected="a JSON file", found="nothing", where=str(path)
        )
    with path.open("rb") as file:
        try:
            yield from _Text(file).members()
        except (ValueError, RecursionError) as error:
            raise RecordError(
                "Annotation file is not JSON",
                expected="a complete JSON object",
                found=str(error),
                where=str(path),
                fix="download the file again",
            ) from None


class _Text:
    """A window on a file that moves forward.

    The bytes are decoded as Latin-1: one character is one byte, so that positions in the text are positions
    in the file, and JSON's own characters, all ASCII, stay what they are.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._text = file.read(_CHUNK).decode("latin-1")
        self._base = 0  # byte of the file at which the window begins
        self._at = 3 if self._text.startswith("\xef\xbb\xbf") else 0  # a byte order mark
        self._decode = json.JSONDecoder().raw_decode

    def members(self) -> Iterator[tuple[str, Any, int, int]]:
        self._expect("{")
        if self._peek() == "}":
            self._at += 1
        else:
            while True:
                key, *_ = self._value()
                if not isinstance(key, str):
                    raise ValueError(f"a key is expected at byte {self._base + self._at}")
                self._expect(":")
                if self._peek() == "[":
                    yield from self._elements(key)
                else:
                    yield (key, *self._value())
                if self._either(",", "}") == "}":
                    break
        if self._peek() != "":
            raise ValueError(f"more data at byte {self._base + self._at}")

    def _elements(self, key: str) -> Iterator[tuple[str, Any, int, int]]:
        start = self._base + self._at
        yield key, LIST_BEGINS, start, start
        self._at += 1
        if self._peek() == "]":
            self._at += 1
            return
        while True:
            yield (key, *self._value())
            if self._either(",", "]") == "]":
                return

    def _value(self) -> tuple[Any, int, int]:
        """The value that begins here; the window grows until it holds all of it."""
        self._peek()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError:
                if not self._grow():
                    raise
                continue
            # A number near the end of the window may go on behind it: "0." is 0 followed by a point.
            whole = end < len(self._text) and self._text[end] not in _NUMERIC
            if whole or not self._grow():
                start, self._at = self._at, end
                return value, self._base + start, self._base + end

    def _peek(self) -> str:
        """The next character that is no space, which the window then begins with at `_at`; "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._grow():
                return ""

    def _expect(self, character: str) -> None:
        self._either(character, character)

    def _either(self, one: str, other: str) -> str:
        found = self._peek()
        if found not in (one, other) or not found:
            wanted = repr(one) if one == other else f"{one!r} or {other!r}"
            instead = repr(found) if found else "the end of the file"
            raise ValueError(f"{wanted} is expected at byte {self._base + self._at}, not {instead}")
        self._at += 1
        return found

    def _grow(self) -> bool:
        """Read on, letting go of what lies behind; False at the end of the file."""
        # As much again as the window holds: an element of n bytes is then tried log(n) times, not n.
        more = self._file.read(max(_CHUNK, len(self._text) - self._at))
        if not more:
            return False
        self._base += self._at
        self._text = self._text[self._at :] + more.decode("latin-1")
        self._at = 0
        return True
