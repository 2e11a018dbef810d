"""Find the JSON object in what a chat model wrote: between prose, in a fence, in wrappers, cut off, or twice.

The text is hostile input: nothing here raises, and the work is bounded whatever the text.
"""

from __future__ import annotations

import html
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from segue.chat_model.lenient_json import read_lenient

LONGEST_TEXT = 60_000
"""Characters that are looked at; a whole answer with a hundred boxes takes about ten thousand."""

Adapt = Callable[[Any], dict[str, Any] | None]
"""Makes the wanted object of a value; None where the value is another thing."""

_MOST_TRIES = 60
_MOST_WORK = 4 * LONGEST_TEXT
"""Characters that may be read in vain."""
_MOST_INNER = 400
_WRAPPERS = 4
"""Levels of wrapping: {"result": {"message": "{\"properties\": {...}}"}} has three."""
_FENCE = re.compile(r"```[a-zA-Z]*[ \t]*\n?")
_BRACKET = re.compile(r"[{\[]")
_VALUE_NAMES = ("value", "const", "default", "example", "content")
# Not strict: models break lines inside texts.
_DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True)
class FoundJson:
    """The object that was found.

    Args:
        content: The object; None when there is none.
        prose: The text outside it, without fences.
        notes: What had to be done to read it.
        whole: False where the text ended inside the object.
    """

    content: dict[str, Any] | None
    prose: str
    notes: list[str] = field(default_factory=list)
    whole: bool = True


@dataclass(frozen=True)
class _Piece:
    """A value in the text, and the wanted object in it, if any."""

    value: Any
    span: tuple[int, int]
    whole: bool
    repairs: tuple[str, ...]
    wanted: dict[str, Any] | None


def find_object(text: str, adapt: Adapt, *, keep_partial: bool = True) -> FoundJson:
    """Find the wanted object; of several the last one, since models draft before they decide.

    Args:
        text: What the model wrote.
        adapt: Says which value is wanted. It is shown every value of the text, then what is inside it
            (entries, and texts that hold JSON themselves), outermost first.
        keep_partial: See `read_lenient`.
    """
    text = text[:LONGEST_TEXT]
    said = without_reasoning(text)
    # Also without its outer brackets, in quotes, or with its quotes escaped, as when it was encoded twice.
    for form in (_bracketed(said), said, _unquoted(said), _unescaped(said)):
        found = _find(form, adapt, keep_partial) if form is not None else None
        if found is not None:
            return found
    if len(said) < len(text):
        found = _find(text, adapt, keep_partial)
        if found is not None:
            note = "the answer stands inside the model's reasoning"
            return FoundJson(found.content, said.strip(), [*found.notes, note], found.whole)
    return FoundJson(None, _outside(said, []))


def without_reasoning(text: str) -> str:
    """The text behind a reasoning model's `<think>` block; before it when the block never ends."""
    lowered = text.lower()
    if "</think>" in lowered:
        return text[lowered.rindex("</think>") + len("</think>") :]
    return text[: lowered.index("<think>")] if "<think>" in lowered else text


def _find(text: str, adapt: Adapt, keep_partial: bool) -> FoundJson | None:
    pieces = list(_pieces(text, adapt, keep_partial))
    fitting = [piece for piece in pieces if piece.wanted is not None]
    if not fitting:
        return None
    notes, last = [], fitting[-1]
    if any(piece.wanted != last.wanted for piece in fitting):
        notes.append(f"the reply holds {len(fitting)} JSON objects; the last one counts")
    if not last.whole:
        notes.append("the reply's JSON ends early; what is complete counts")
    if last.repairs:
        notes.append(f"the reply is not quite JSON ({', '.join(last.repairs)}); read all the same")
    return FoundJson(last.wanted, _outside(text, [p.span for p in pieces]), notes, last.whole)


def _pieces(text: str, adapt: Adapt, keep_partial: bool) -> Iterator[_Piece]:
    """The outermost objects and lists of the text; a stray bracket of the prose hides none behind it."""
    position = tries = work = 0
    while (opening := _BRACKET.search(text, position)) and tries < _MOST_TRIES and work < _MOST_WORK:
        start = opening.start()
        try:
            value, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            lenient = read_lenient(text, start, keep_partial=keep_partial)
            wanted = None if lenient is None else _wanted(lenient.value, adapt)
            if lenient is None or wanted is None:
                tries += 1
                # A failure may have read to the end: without a bound, a text of nothing but brackets costs
                # its square.
                work += len(text) - start if lenient is None else lenient.end - start
                position = start + 1
                continue
            yield _Piece(lenient.value, (start, lenient.end), lenient.whole, lenient.repairs, wanted)
            position = lenient.end
        else:
            yield _Piece(value, (start, end), True, (), _wanted(value, adapt))
            position = end


def _wanted(value: Any, adapt: Adapt) -> dict[str, Any] | None:
    """The wanted object in a value: itself, or the outermost of those inside it."""
    waiting = deque([(value, 0)])
    for _ in range(_MOST_INNER):
        if not waiting:
            break
        inner, level = waiting.popleft()
        found = adapt(inner)
        if found is not None:
            return found
        if level < _WRAPPERS:
            waiting += [(content, level + 1) for content in _inside(inner)]
    return None


def _inside(value: Any) -> Iterator[Any]:
    """Values that a value may be the wrapper of."""
    if isinstance(value, Mapping):
        # As a schema has it: {"answer": {"type": "string", "value": "A mug."}, ...}.
        described = {name: _described(content) for name, content in value.items()}
        if described and None not in described.values():
            yield {name: found[0] for name, found in described.items() if found is not None}
        yield from value.values()
    elif isinstance(value, list):
        yield from value[:50]
    elif isinstance(value, str):
        for form in (value, _unquoted(value)):
            opening = _BRACKET.search(form) if form else None
            if form and opening:
                lenient = read_lenient(form, opening.start())
                if lenient is not None:
                    yield lenient.value


def _described(content: Any) -> tuple[Any] | None:
    if not isinstance(content, Mapping) or "type" not in content:
        return None
    if isinstance(content.get("items"), list):
        return (content["items"],)
    return next(((content[name],) for name in _VALUE_NAMES if name in content), None)


def _unquoted(text: str) -> str | None:
    """The text in a JSON string that is all there is; None for anything else."""
    bare = _FENCE.sub("", text).strip()
    if not (bare.startswith('"') and bare.endswith('"')):
        return None
    try:
        inner = json.loads(bare, strict=False)
    except (ValueError, RecursionError):
        return None
    return inner if isinstance(inner, str) else None


def _bracketed(text: str) -> str | None:
    """The text in braces where it begins with a name in quotes and a colon; None for anything else."""
    bare = _FENCE.sub("", text).strip()
    return f"{{{bare}}}" if re.match(r'"[^"\n]{1,40}"\s*:', bare) else None


def _unescaped(text: str) -> str | None:
    """The text with plain quotes; None where none has a backslash before it, or is written for a page."""
    if "&quot;" in text:
        return html.unescape(text)
    if not re.search(r'[{\[]\s*(?:\\n\s*)*\\"', text):
        return None
    # Double backslashes are set aside first, or the n of "C:\\\\new" would become a line break.
    return text.replace("\\\\", "\0").replace("\\n", "\n").replace('\\"', '"').replace("\0", "\\")


def _outside(text: str, spans: list[tuple[int, int]]) -> str:
    done, parts = 0, []
    for start, end in spans:
        parts.append(text[done:start])
        done = end
    parts.append(text[done:])
    return _FENCE.sub("", "".join(parts)).strip()
