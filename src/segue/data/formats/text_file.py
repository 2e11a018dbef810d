"""The one reader of text and JSON files: what programs of any country and age wrote, decoded or named.

UTF-8 with or without a byte order mark, UTF-16, UTF-32, what the file itself declares, and last a guess
between gb18030 and Windows-1252, which is told to the reader as a guess.
"""

from __future__ import annotations

import codecs
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segue.errors import InputError
from segue.file_kind import HEAD_BYTES, disguised

# UTF-32's little-endian mark begins with UTF-16's, so it comes first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(rb'"(?:encoding|charset)"\s*:\s*"([A-Za-z0-9_.:-]{2,20})"')
_HIGH = re.compile(rb"[\x80-\xff]+")
_DECLARED_WITHIN = 4096  # bytes
_CHUNK = 1 << 16  # bytes


@dataclass(frozen=True)
class Decoded:
    """A text and how it was decoded.

    Attributes:
        text: Without a byte order mark.
        encoding: Python's name of it.
        is_guess: Nothing in the file says that this is the encoding.
    """

    text: str
    encoding: str
    is_guess: bool = False

    @property
    def wording(self) -> str:
        """Wording that a report counts where the encoding is a guess."""
        return f"text read as {self.encoding}, which is a guess: save the file as UTF-8 if names look wrong"


def decode(content: bytes) -> Decoded:
    """Decode the bytes of a text file; never fails."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            # A file may be cut off in the middle of a character; the parser then says where it ends.
            return Decoded(content.decode(encoding, errors="replace"), encoding)
    # ASCII in UTF-16 has a zero in every other byte; JSON begins with ASCII, so two bytes tell the order.
    if len(content) >= 4 and content[1] == 0 != content[0]:
        return Decoded(content.decode("utf-16-le", errors="replace"), "utf-16-le")
    if len(content) >= 4 and content[0] == 0 != content[1]:
        return Decoded(content.decode("utf-16-be", errors="replace"), "utf-16-be")
    declared = _DECLARED.search(content[:_DECLARED_WITHIN])
    for encoding in ("utf-8", *([declared[1].decode("ascii")] if declared else [])):
        try:
            return Decoded(content.decode(encoding), encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    encoding = _guess(content)
    return Decoded(content.decode(encoding, errors="replace"), encoding, is_guess=True)


def _guess(content: bytes) -> str:
    """gb18030 or cp1252, by how the bytes above 127 stand together.

    Chinese words are runs of whole pairs between quotes; accented letters stand one by one inside words, and
    where two meet ("créée") letters stand around them.
    """
    try:
        content.decode("gb18030")
    except UnicodeDecodeError:
        return "cp1252"
    try:
        content.decode("gb2312")
        is_common = True
    except UnicodeDecodeError:
        is_common = False
    runs = list(_HIGH.finditer(content))
    inside = sum(
        content[run.start() - 1 : run.start()].isalpha() or content[run.end() : run.end() + 1].isalpha()
        for run in runs
    )
    in_words = 2 * inside > len(runs)
    single = all(len(run[0]) == 1 for run in runs)
    return "cp1252" if single or (in_words and not is_common) or (in_words and _short(runs)) else "gb18030"


def _short(runs: list[re.Match[bytes]]) -> bool:
    """Whether no run is longer than two accented letters in a row."""
    return all(len(run[0]) <= 2 for run in runs)


def load_text(path: Path) -> Decoded:
    """Read a text file.

    Raises:
        InputError: It cannot be read, or is something else: a Git LFS pointer, an archive, a web page.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            "The file cannot be read.",
            expected="a text file that may be opened",
            found=error.strerror or str(error),
            where=str(path),
            fix="check the path and its permissions",
        ) from None
    kind = disguised(content[:HEAD_BYTES])
    if kind is not None:
        raise InputError(
            "The file is not text.", expected="a text file", found=kind.name, where=str(path), fix=kind.fix
        )
    return decode(content)


def is_utf8(path: Path) -> bool:
    """Whether a file of any size is text in UTF-8, read once and not kept."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if b"\0" in head[:4] or disguised(head) is not None:
            return False
        try:
            decoder.decode(head)
            while chunk := file.read(_CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def decode_beginning(content: bytes) -> str:
    """The text of the first bytes of a file, which may end within a character; never fails."""
    with suppress(UnicodeDecodeError):
        return codecs.getincrementaldecoder("utf-8-sig")().decode(content)
    return decode(content).text


def parse_json(path: Path) -> tuple[Any, Decoded]:
    """The value in a JSON file, and how its text was decoded.

    Raises:
        InputError: It cannot be read, or is not JSON.
    """
    try:
        decoded = load_text(path)
    except InputError as error:
        raise InputError(
            "This is not JSON that can be read.",
            expected="a JSON file",
            found=error.found,
            where=error.where,
            fix=error.fix,
        ) from None
    try:
        return json.loads(decoded.text), decoded
    except (ValueError, RecursionError) as error:
        raise InputError(
            "The file is not JSON.",
            expected="a complete JSON file",
            found=str(error) if decoded.text.strip() else "an empty file",
            where=str(path),
            fix="save or download the file again",
        ) from None


def load_json(path: Path) -> Any:
    """The value in a JSON file of any encoding; see `parse_json`."""
    return parse_json(path)[0]
