"""Nearly JSON, as chat models write it, read as far as it is sound.

    {answer: 'a "red" mug', // one            ->   {"answer": 'a "red" mug',
     “objects”: [{"id": 1,}, {"id": 2, "bo          "objects": [{"id": 1}, {"id": 2}]}

Comments, names and words without quotes, quotes of other kinds, quotes inside texts, commas too many or too
few, brackets of the wrong kind, Python's constants and tuples, an end that is missing: each is passed over,
and named in what is returned. The text is hostile input: nothing here raises, and the work is bounded.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

DEEPEST = 20
"""Brackets within brackets; an answer has four."""

_CLOSERS = {'"': '"', "'": "'", "“": '”“"', "”": '”"', "„": '“”"', "‘": "’'", "’": "’'", "‚": "‘’'",
            "«": "»", "`": "`"}  # fmt: skip
"""Opening quote -> what may close it."""
_BLANK = re.compile(r"[\s\ufeff\u200b]+")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?(?:\*/|\Z)|#[^\n]*", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_$][\w$.-]{0,79}")
_NEXT_KEY = re.compile(
    r"""\s*(?:"(?:[^"\\\n]|\\.){0,80}"|\\"[^"\\\n]{0,80}\\"|\\?'[^'\n]{0,80}'|[“”„][^“”"\n]{0,80}[“”"]|[‘’‚][^‘’'\n]{0,80}[‘’']"""
    r"""|[«`][^»`\n]{0,80}[»`]|[A-Za-z_$][\w$-]{0,79})\s*(?:[:：](?!//)|=>)"""
)
_NUMBER = re.compile(r"[-+]?(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,4})?")
_DELIMITER = re.compile(r"[\s,，;:\]})/#]")
_WORD = re.compile(r"[A-Za-z]\w{0,15}")
_WORDS: dict[str, Any] = {"true": True, "True": True, "TRUE": True, "false": False, "False": False,
          "FALSE": False, "null": None, "None": None, "NULL": None, "undefined": None, "NaN": None,
          "nan": None}  # fmt: skip
# Words, with phrases marked as [phrase](1), up to the end of the line or of the object, or to the next name.
_BARE = re.compile(
    r"(?:\[[^\[\]\n]{1,80}\]\([\d, ]{1,20}\)|[^\n{}\[\]\"“”]){1,500}?"
    r"(?=\s*(?:\n|[}\]]|,\s*(?:[}\]]|\n|[^\s,:]{1,40}\s*:)|\Z))"
)
_JOINED = re.compile(r"\s*\+\s*(\S)")
_BARE_ITEM = re.compile(r"[\w][\w .-]{0,79}?(?=\s*[,\]])")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_CUT = object()
"""In place of a value that the end of the text took away."""


@dataclass(frozen=True)
class LenientValue:
    """A value that was read.

    Args:
        value: A dict or a list.
        end: Place behind it in the text.
        whole: False where the text ended first; then what was complete is there, and texts as far as they go.
        repairs: What had to be passed over, such as "comments"; empty for JSON as it should be.
    """

    value: Any
    end: int
    whole: bool
    repairs: tuple[str, ...]


def read_lenient(text: str, start: int, *, keep_partial: bool = True) -> LenientValue | None:
    """Read the object or list that begins at a bracket; None where there is none, but prose.

    Args:
        text: What a model wrote.
        start: Place of a "{" or "[".
        keep_partial: Keep the entry of a list, or the words of a text, in which the whole text ends; else
            only what is complete.
    """
    reader = _Reader(text, keep_partial)
    try:
        value, end = reader.container(start, 0)
    except _NotJsonError:
        return None
    return LenientValue(value, end, not reader.cut, tuple(dict.fromkeys(reader.repairs)))


class _NotJsonError(Exception):
    """Prose, not meant as JSON."""


class _Reader:
    """A recursive-descent reader; every method takes a place in the text and returns one."""

    def __init__(self, text: str, keep_partial: bool) -> None:
        self.text, self.keep_partial = text, keep_partial
        self.cut = False
        self.repairs: list[str] = []
        self._open: list[str] = []

    # ---- brackets ----------------------------------------------------------------------------------------

    def container(self, k: int, depth: int) -> tuple[Any, int]:
        if depth > DEEPEST:
            raise _NotJsonError
        opener = self.text[k]
        self._open.append(opener)
        value, end = self._object(k + 1, depth) if opener == "{" else self._list(k + 1, depth)
        self._open.pop()
        return value, end

    def _object(self, k: int, depth: int) -> tuple[dict[str, Any], int]:
        members: dict[str, Any] = {}
        while True:
            k = self._gap(k)
            if self._at_end(k):
                return members, k
            c = self.text[k]
            if c == "}":
                return members, k + 1
            if c in "])":
                self.repairs.append("brackets of the wrong kind")
                if any(opener in "[(" for opener in self._open[:-1]):
                    return members, k  # the list around it ends here, so does this
                k += 1
                continue
            k = self._member(k, members, depth)

    def _member(self, k: int, members: dict[str, Any], depth: int) -> int:
        key, k = self._key(k)
        if self.cut:
            return len(self.text)
        k = self._gap(k)
        if self._at_end(k):
            return k
        if self.text[k] not in ":：=":
            raise _NotJsonError
        k += 2 if self.text.startswith("=>", k) else 1
        value, k = self._value(k, "object", depth)
        if value is not _CUT:
            members[key] = value
        return self._comma(k, "}")

    def _key(self, k: int) -> tuple[str, int]:
        if self._quote_at(k):
            return self._string(k, "key")
        found = _NAME.match(self.text, k)
        if found is None:
            raise _NotJsonError
        self.repairs.append("names without quotes")
        return found[0], found.end()

    def _list(self, k: int, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        while True:
            k = self._gap(k)
            if self._at_end(k):
                return items, k
            c = self.text[k]
            if c in "])":
                return items, k + 1
            if c == "}":
                self.repairs.append("brackets of the wrong kind")
                return items, k
            was_cut = self.cut
            value, k = self._value(k, "list", depth)
            ended_here = self.cut and not was_cut
            if value is not _CUT and (self.keep_partial or not ended_here):
                items.append(value)
            k = self._comma(k, "]")

    def _comma(self, k: int, closer: str) -> int:
        """Pass the comma behind a value; a missing one is passed over too."""
        k = self._gap(k)
        if k < len(self.text) and self.text[k] in ",;，":
            after = self._gap(k + 1)
            if after < len(self.text) and self.text[after] in "])},":
                self.repairs.append("commas too many")
            while after < len(self.text) and self.text[after] == ",":
                after = self._gap(after + 1)
            return after
        if k < len(self.text) and self.text[k] not in "}])":
            self.repairs.append("commas too few")
        return k

    # ---- values ------------------------------------------------------------------------------------------

    def _value(self, k: int, inside: str, depth: int) -> tuple[Any, int]:
        k = self._gap(k)
        if self._at_end(k):
            return _CUT, k
        c = self.text[k]
        if c in "{[":
            return self.container(k, depth + 1)
        if c == "(":
            self.repairs.append("brackets of the wrong kind")
            return self.container(k, depth + 1)
        if self._quote_at(k):
            return self._string(k, inside)
        for read in (self._number, self._word, self._bare):
            found = read(k, inside)
            if found is not None:
                return found
        if c in "}]," and inside == "object":
            self.repairs.append("values that are missing")
            return None, k
        raise _NotJsonError

    def _number(self, k: int, inside: str) -> tuple[Any, int] | None:
        found = _NUMBER.match(self.text, k)
        if found is None:
            return None
        end = found.end()
        if end == len(self.text):
            # "8" may be the beginning of "834".
            self.cut = True
            return _CUT, end
        if not _DELIMITER.match(self.text, end):
            return None
        digits = found[0].replace("_", "")
        try:
            # Also refuses more than 4300 digits (Python 3.11 on); as a float such a number is infinite, hence
            # None.
            value: int | float = int(digits)
        except ValueError:
            value = float(digits)
        return (value if math.isfinite(value) else None), end

    def _word(self, k: int, inside: str) -> tuple[Any, int] | None:
        found = _WORD.match(self.text, k)
        if found is None or (found.end() < len(self.text) and not _DELIMITER.match(self.text, found.end())):
            return None
        if found[0] not in _WORDS:
            return None
        if found[0] not in ("true", "false", "null"):
            self.repairs.append("constants of another language")
        return _WORDS[found[0]], found.end()

    def _bare(self, k: int, inside: str) -> tuple[Any, int] | None:
        """Words without quotes: to the end of the line or of the object, or before the next name."""
        found = (_BARE if inside == "object" else _BARE_ITEM).match(self.text, k)
        if found is None:
            return None
        words = found[0]
        if not any(c.isalnum() for c in words):
            return None
        if found.end() == len(self.text):
            self.cut = True
            if not self.keep_partial or any(word.startswith(words) for word in _WORDS):
                return _CUT, found.end()
        self.repairs.append("words without quotes")
        return words.strip(), k + len(words.rstrip())

    # ---- texts -------------------------------------------------------------------------------------------

    def _quote_at(self, k: int) -> bool:
        return self.text[k] in _CLOSERS or (self.text[k] == "\\" and self.text[k + 1 : k + 2] in ('"', "'"))

    def _string(self, k: int, inside: str) -> tuple[Any, int]:
        """A text from its opening quote on; one that looks closed where nothing may follow goes on."""
        escaped_quotes = self.text[k] == "\\"
        k += escaped_quotes
        opener = self.text[k]
        if opener != '"' or escaped_quotes:
            self.repairs.append("quotes of another kind")
        tripled = opener in "\"'" and self.text.startswith(opener * 3, k)
        if tripled:
            self.repairs.append("quotes of another kind")
            end = self.text.find(opener * 3, k + 3)
            if end >= 0:
                return self.text[k + 3 : end], end + 3
            return self._cut_text(self.text[k + 3 :])
        closers = _CLOSERS[opener]
        stops = re.compile(f"[\\\\{closers}]")
        parts: list[str] = []
        done = k + 1
        while (stop := stops.search(self.text, done)) is not None:
            parts.append(self.text[done : stop.start()])
            if stop[0] == "\\" and not (escaped_quotes and self.text[stop.end() : stop.end() + 1] == opener):
                piece, done = self._escape(stop.end())
                parts.append(piece)
                continue
            end = stop.end() + (stop[0] == "\\")
            joined = _JOINED.match(self.text, end)
            if joined and joined[1] in _CLOSERS:
                self.repairs.append("texts in pieces")
                done = joined.end()
                continue
            if self._closes(end, inside):
                return "".join(parts), end
            self.repairs.append("quotes inside a text")
            parts.append(self.text[end - 1])
            done = end
        return self._cut_text("".join(parts) + self.text[done:])

    def _cut_text(self, words: str) -> tuple[Any, int]:
        self.cut = True
        return (words if self.keep_partial else _CUT), len(self.text)

    def _escape(self, k: int) -> tuple[str, int]:
        """Character that a backslash stands for; one that means nothing is left out."""
        c = self.text[k : k + 1]
        code = self.text[k + 1 : k + 5]
        if c == "u" and re.fullmatch("[0-9a-fA-F]{4}", code):
            # "\ud83d\ude00" is one character in two escapes, each of which alone is none.
            high, k = int(code, 16), k + 5
            low = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})").match(self.text, k)
            if 0xD800 <= high < 0xDC00 and low:
                return chr(0x10000 + ((high - 0xD800) << 10) + int(low[1], 16) - 0xDC00), low.end()
            return chr(high), k
        return _ESCAPES.get(c, c), k + len(c)

    def _closes(self, k: int, inside: str) -> bool:
        """Tell whether a text may end here, by what follows."""
        k = self._gap(k, noted=False)
        if k >= len(self.text):
            return True
        c = self.text[k]
        if inside == "key":
            return c in ":：="
        if c in "}])":
            return True
        if c in ",;，":
            k = self._gap(k + 1, noted=False)
            while self.text.startswith(",", k):
                k = self._gap(k + 1, noted=False)
            if k >= len(self.text) or self.text[k] in "}])":
                return True
            if inside == "object":
                return _NEXT_KEY.match(self.text, k) is not None
            return self.text[k] in "{[(-+." or self._quote_at(k) or self.text[k].isdigit() or bool(
                _WORD.match(self.text, k) and _WORD.match(self.text, k)[0] in _WORDS  # type: ignore[index]
            )  # fmt: skip
        # A comma is missing: the next name, or the next entry, on a line of its own.
        if inside == "object":
            return _NEXT_KEY.match(self.text, k) is not None
        return self.text[k] in '{["' and "\n" in self.text[max(0, k - 40) : k]

    # ---- between -----------------------------------------------------------------------------------------

    def _gap(self, k: int, *, noted: bool = True) -> int:
        """Pass over blanks, comments and dots that stand for more."""
        while k < len(self.text):
            found = _BLANK.match(self.text, k)
            if found is None and self.text[k] in "/#":
                found = _COMMENT.match(self.text, k)
                if found and noted:
                    self.repairs.append("comments")
            if found is None and self.text.startswith(("...", "…"), k):
                found = re.compile(r"\.{3,}|…").match(self.text, k)
                if noted:
                    self.repairs.append("dots in place of entries")
            if found is None:
                break
            k = found.end()
        return k

    def _at_end(self, k: int) -> bool:
        if k >= len(self.text):
            self.cut = True
        return k >= len(self.text)
