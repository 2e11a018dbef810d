"""Find the JSON object in what a chat model wrote: between prose, in a fence, cut off, or several times.

The text is hostile input: nothing here raises, and the work is bounded whatever the text.
"""

from __future__ import annotations

import ast
import json
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

LONGEST_TEXT = 60_000
"""Characters that are looked at; a whole answer with a hundred boxes takes about ten thousand."""

_MOST_TRIES = 60
_DEEPEST = 20
_LONGEST_LITERAL = 20_000
_FENCE = re.compile(r"```[a-zA-Z]*[ \t]*\n?")
_JSON_BEGINS = re.compile(r"""[{\[]\s*(?:["'{]|\Z)""")
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")


@dataclass(frozen=True)
class FoundJson:
    """What was found.

    Args:
        content: The object; None when there is none.
        prose: The text outside it, without fences.
        notes: What had to be done to read it.
    """

    content: dict[str, Any] | None
    prose: str
    notes: list[str] = field(default_factory=list)


def find_object(text: str, wanted: tuple[str, ...]) -> FoundJson:
    """Find the object that has one of the wanted keys; the last one, since models draft before they decide.

    Args:
        text: What the model wrote.
        wanted: Keys of which the object must have at least one. A bare list of objects is returned as
            `{"objects": [...]}`.
    """
    text, notes = without_reasoning(text[:LONGEST_TEXT]), []
    pieces, rest = _pieces(text)
    values = [(value, span) for span in pieces if (value := _read(text[slice(*span)])) is not None]
    wrapped = [({"objects": v} if _is_list_of_objects(v) else v, span) for v, span in values]
    fitting = [
        (v, s) for v, s in wrapped if isinstance(v, dict) and any(k in v for k in (*wanted, "objects"))
    ]
    if fitting:
        content = fitting[-1][0]
        different = [v for v, _ in fitting if v != content]
        if different:
            notes.append(f"the reply holds {len(fitting)} JSON objects; the last one counts")
        return FoundJson(content, _outside(text, [s for _, s in values]), notes)
    if rest is not None:
        content = _mended(text[rest:])
        if _is_list_of_objects(content):
            content = {"objects": content}
        if isinstance(content, dict) and any(key in content for key in (*wanted, "objects")):
            notes.append("the reply's JSON ends early; what is complete counts")
            return FoundJson(content, _outside(text, [(rest, len(text))]), notes)
    return FoundJson(None, _outside(text, []), notes)


def without_reasoning(text: str) -> str:
    """The text behind a reasoning model's `<think>` block; before it when the block never ends."""
    lowered = text.lower()
    if "</think>" in lowered:
        return text[lowered.rindex("</think>") + len("</think>") :]
    return text[: lowered.index("<think>")] if "<think>" in lowered else text


def _pieces(text: str) -> tuple[list[tuple[int, int]], int | None]:
    """Ranges of the outermost {...} and [...] in the text, and where one begins that is never closed."""
    pieces: list[tuple[int, int]] = []
    position, failures = 0, 0
    while (start := _next_opening(text, position)) is not None and failures < _MOST_TRIES:
        end, unclosed = _closing(text, start)
        if end is not None:
            pieces.append((start, end))
            position = end
        elif unclosed and _JSON_BEGINS.match(text, start):
            return pieces, start
        else:
            # A stray bracket of the prose must not hide an object behind it.
            failures += 1
            position = start + 1
    return pieces, None


def _next_opening(text: str, position: int) -> int | None:
    found = [k for k in (text.find("{", position), text.find("[", position)) if k >= 0]
    return min(found) if found else None


def _closing(text: str, start: int) -> tuple[int | None, bool]:
    """One past the bracket that closes the one at `start`; None when there is none, True at the end."""
    stack: list[str] = []
    inside = False
    escaped = False
    for k in range(start, len(text)):
        c = text[k]
        if inside:
            inside, escaped = (escaped or c != '"'), (c == "\\" and not escaped)
        elif c == '"':
            inside = True
        elif c in "{[":
            stack.append("}" if c == "{" else "]")
        elif c in "}]":
            if not stack or stack.pop() != c:
                return None, False
            if not stack:
                return k + 1, False
    return None, True


def _read(piece: str) -> Any:
    """A piece as a value: JSON, JSON with trailing commas, or what Python would print. None for neither."""
    for candidate in (piece, _TRAILING_COMMA.sub(r"\1", piece)):
        try:
            return json.loads(candidate, strict=False)
        except (ValueError, RecursionError):
            continue
    if len(piece) <= _LONGEST_LITERAL and "'" in piece:
        try:
            return ast.literal_eval(piece)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            return None
    return None


def _mended(piece: str) -> Any:
    """A piece that ends early, closed where it ends, else after the last comma that leaves it whole."""
    for cut, closers in reversed(_cuts(piece)):
        value = _read(piece[:cut] + closers)
        if value is not None:
            return value
    return None


def _cuts(piece: str) -> list[tuple[int, str]]:
    """The last places where the piece may be cut, each with what closes it: at commas, brackets, the end."""
    cuts: deque[tuple[int, str]] = deque(maxlen=_MOST_TRIES)
    stack: list[str] = []
    inside = escaped = False
    for k, c in enumerate(piece):
        if inside:
            inside, escaped = (escaped or c != '"'), (c == "\\" and not escaped)
            continue
        if c == '"':
            inside = True
        elif c in "{[":
            stack.append("}" if c == "{" else "]")
        elif c in "}]" and stack:
            stack.pop()
        if len(stack) > _DEEPEST:
            return list(cuts)
        if c in ",}]" and stack:
            cuts.append((k if c == "," else k + 1, "".join(reversed(stack))))
    ending = ("\\" if escaped else "") + ('"' if inside else "")
    return [*cuts, (len(piece), ending + "".join(reversed(stack)))]


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _outside(text: str, spans: list[tuple[int, int]]) -> str:
    done, parts = 0, []
    for start, end in spans:
        parts.append(text[done:start])
        done = end
    parts.append(text[done:])
    return _FENCE.sub("", "".join(parts)).strip()
