"""A chat model's reply -> clean text, and what it points at.

The reply is hostile input: nothing here raises. What cannot be used is left out with a sentence that says so;
the words of the answer always survive.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from segue import protocol
from segue.agent.boxes import Box, read_boxes
from segue.chat_model.json_reply import FoundJson, find_object
from segue.chat_model.lenient_json import read_lenient
from segue.inference.inputs import whole_unicode
from segue.protocol.tags import read_identifier

MOST_OBJECTS = 100

REPLY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "answer": {"type": "string"},
        "objects": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "integer"},
                    "phrase": {"type": "string"},
                    "image": {"type": "integer"},
                    "box": {"type": "array", "items": {"type": "number"}},
                },
                "required": ["id", "phrase", "image", "box"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["answer", "objects"],
    "additionalProperties": False,
}
"""Schema that the server shall hold replies to; kept to what every implementation of schemas knows."""

# The first name is the one asked for; the others are what models write all the same.
_ANSWER = ("answer", "text", "response", "caption", "description")
_OBJECTS = ("objects", "object", "detections", "groundings", "regions", "boxes")
_PHRASE = ("phrase", "label", "name", "text", "description")
_IMAGE = ("image", "image_number", "image_id", "image_index", "img", "picture")
_BOX = ("box", "bbox", "bbox_2d", "bounding_box", "boxes", "coordinates", "box_2d")
_Y_FIRST = ("box_2d",)

# "[red mug](1)", "[mugs](1, 2)", "[mug](id: 3)", "[mug](#3)", "<p>mug</p>".
_MARK = re.compile(
    r"\[([^\[\]\n]{1,200})\]\(\s*(?:id\s*[:=]?\s*|#)?(\d{1,4}(?:\s*,\s*\d{1,4}){0,20})\s*\)"
    r"|<p>([^<>\n]{1,200})</p>"
)
_TAG = re.compile("|".join(re.escape(tag) for tag in protocol.TAG_LITERALS), re.IGNORECASE)


@dataclass(frozen=True)
class Pointing:
    """One box of a reply and the words that it belongs to.

    Args:
        span: Character range in the text.
        identifier: The image as the protocol writes it, "(IMAGE2)"; may be out of range, empty for none.
        box: As the model counts, corners in order; None for none that can be read.
    """

    span: tuple[int, int]
    identifier: str
    box: Box | None

    def image_index(self, num_images: int) -> int | None:
        """The 0-based image; None when it is unknown or out of range."""
        if not self.identifier:
            return 0 if num_images == 1 else None
        _, index, _ = read_identifier(self.identifier, 0)
        return index if index is not None and 0 <= index < num_images else None


@dataclass(frozen=True)
class AgentReply:
    """A reply, taken apart.

    Args:
        text: The answer without marks or tags; may be empty.
        pointings: Sorted by their place in the text.
        notes: What was odd, in sentences.
        is_json: Whether there was an object to read.
    """

    text: str
    pointings: tuple[Pointing, ...] = ()
    notes: tuple[str, ...] = ()
    is_json: bool = True


@dataclass
class _Mark:
    """A marked phrase of the text, or an unmarked one that an object turned out to mean."""

    span: tuple[int, int]
    phrase: str
    ids: frozenset[int] = frozenset()
    unmarked: bool = False
    used: int = 0


@dataclass
class _Text:
    """The text without marks, and the marks."""

    text: str
    marks: list[_Mark] = field(default_factory=list)


def read_reply(reply: str, num_images: int, elsewhere: Sequence[str] = ()) -> AgentReply:
    """Take a reply apart.

    Args:
        reply: What the model wrote.
        num_images: How many images it was shown.
        elsewhere: Other texts in which the answer may stand, such as a tool's arguments.

    Returns:
        Text and pointings; without JSON the words of the reply, pointing at nothing.
    """
    found = _found(reply, elsewhere)
    if found.content is None:
        plain = _unmark(whole_unicode(found.prose))
        return AgentReply(plain.text, notes=tuple(found.notes), is_json=False)
    notes = list(found.notes)
    listed = _objects(found.content, notes)
    answer = _first(found.content, _ANSWER)
    # {"answer": {"text": "..."}}.
    if isinstance(answer, Mapping):
        answer = _first(answer, _ANSWER)
    if isinstance(answer, str) and answer.strip():
        written = _unmark(whole_unicode(answer))
    elif found.prose:
        written = _unmark(whole_unicode(found.prose))
        notes.append('the reply has no "answer"; the words around the JSON count')
    else:
        written = _from_phrases(listed)
        notes.append('the reply has no "answer"; its phrases are listed instead')
    pointings = _point(written, listed, num_images, notes)
    return AgentReply(written.text, tuple(pointings), tuple(notes))


def _found(reply: str, elsewhere: Sequence[str]) -> FoundJson:
    """The object of the first text that has one; the words of the reply where none has."""
    found = find_object(reply, as_answer)
    for text in elsewhere:
        if found.content is None and text != reply:
            other = find_object(text, as_answer)
            if other.content is not None:
                note = "the answer stands beside the reply's text, in reasoning or a tool's arguments"
                return replace(other, prose=found.prose, notes=[*other.notes, note])
    return found


def as_answer(value: Any) -> dict[str, Any] | None:
    """A value of a reply as `{"answer", "objects"}` under any of their names; None when it is no answer.

    A bare list of detections, or a single one, becomes the objects of an answer without words.
    """
    if isinstance(value, list):
        things = bool(value) and all(isinstance(item, dict) for item in value)
        return {"objects": value} if things and any(_is_thing(item) for item in value) else None
    if not isinstance(value, dict):
        return None
    value = _named(value)
    if _is_thing(value):
        return {"objects": [value]}
    answer, objects = _first(value, _ANSWER), _first(value, _OBJECTS)
    # {"answer": {"type": "string", "value": ...}} describes an answer rather than being one.
    described = isinstance(answer, Mapping) and "type" in answer
    listed = not described and (
        isinstance(objects, Mapping)
        or (isinstance(objects, str) and _looks_like_json(objects))
        or (isinstance(objects, list) and all(isinstance(item, (dict, str, int)) for item in objects))
    )
    # Words around an answer: a schema's own "description", or the whole object once more as a text.
    wrapped = isinstance(answer, str) and not listed and (
        ("properties" in value and "answer" not in value) or _looks_like_json(answer)
    )  # fmt: skip
    return value if not wrapped and (listed or isinstance(answer, str)) else None


def _named(value: Mapping[Any, Any]) -> dict[str, Any]:
    """A mapping with its names as they are looked up: "Bounding Box" -> "bounding_box"."""
    return {re.sub(r"[\s-]+", "_", str(name).strip().lower()): content for name, content in value.items()}


def _is_thing(value: Mapping[str, Any]) -> bool:
    """Tell whether a value is one entry of "objects": something with a box and no objects of its own."""
    value = _named(value)
    has_box = any(read_boxes(value[name]) for name in _BOX if name in value)
    return has_box and "answer" not in value and not isinstance(_first(value, _OBJECTS[:5]), list)


def _looks_like_json(text: str) -> bool:
    start = text.lstrip().removeprefix("```json").removeprefix("```").lstrip()
    return start.startswith(("{", "[{")) and ":" in start


def markup_of(text: str, pointings: Sequence[Pointing]) -> str:
    """The answer as a grounded model would have written it, one `[SEG]` a pointing.

    An image that is missing or out of range is written as it is, so that `protocol.parse` reports it the way
    it does for every model.
    """
    parts, done = [], 0
    by_span: dict[tuple[int, int], list[str]] = {}
    for pointing in pointings:
        by_span.setdefault(pointing.span, []).append(pointing.identifier)
    for (start, end), identifiers in sorted(by_span.items()):
        segs = " ".join(f"{protocol.SEG_TOKEN} {name}".rstrip() for name in identifiers)
        phrase = f"{protocol.PHRASE_START} {text[start:end]} {protocol.PHRASE_END}"
        parts += [text[done:start], phrase, " ", segs]
        done = end
    return "".join([*parts, text[done:]])


# ---- the text --------------------------------------------------------------------------------------------


def _unmark(answer: str) -> _Text:
    """Take `[phrase](id)` and `<p>phrase</p>` out of the text, keeping the phrases and their places."""
    answer = answer.strip()
    parts: list[str] = []
    marks: list[_Mark] = []
    done = length = 0
    for match in _MARK.finditer(answer):
        phrase = match[1] or match[3]
        before = answer[done : match.start()] + phrase[: len(phrase) - len(phrase.lstrip())]
        parts += [before, phrase.strip(), phrase[len(phrase.rstrip()) :]]
        start = length + len(before)
        done = match.end()
        length += sum(len(part) for part in parts[-3:])
        if phrase.strip():
            ids = frozenset(int(number) for number in re.findall(r"\d+", match[2] or ""))
            marks.append(_Mark((start, start + len(phrase.strip())), phrase.strip(), ids))
    parts.append(answer[done:])
    # A model may write our own tags; characters of the same number keep every place where it is.
    # "[SEG]" -> "(SEG)".
    text = _TAG.sub(lambda tag: f"({tag[0][1:-1]})", "".join(parts))
    return _Text(text, [replace_phrase(mark, text) for mark in marks])


def replace_phrase(mark: _Mark, text: str) -> _Mark:
    """The mark with its phrase as it stands in the text."""
    return replace(mark, phrase=text[slice(*mark.span)])


def _from_phrases(listed: Sequence[Mapping[str, Any]]) -> _Text:
    """A text for a reply that has none: its phrases, each once."""
    phrases = dict.fromkeys(p for item in listed if (p := _phrase(item)))
    return _unmark("; ".join(phrases))


# ---- the objects -----------------------------------------------------------------------------------------


def _objects(content: Mapping[str, Any], notes: list[str]) -> list[Mapping[str, Any]]:
    value = _opened(_first(content, _OBJECTS))
    if isinstance(value, Mapping):
        inner = [v for v in value.values() if isinstance(v, list) and any(isinstance(i, Mapping) for i in v)]
        value = inner[0] if inner and not _is_thing(value) else [value]
    items = [_opened(item) for item in value] if isinstance(value, list) else []
    listed: list[Mapping[str, Any]] = [_named(item) for item in items if isinstance(item, Mapping)]
    if len(listed) < len(items):
        notes.append(f"{len(items) - len(listed)} of {len(items)} objects are not JSON objects; left out")
    if value is not None and not isinstance(value, list):
        notes.append('"objects" is not a list; left out')
    if len(listed) > MOST_OBJECTS:
        notes.append(f"the reply lists {len(listed)} objects; the first {MOST_OBJECTS} count")
    return listed[:MOST_OBJECTS]


def _opened(value: Any) -> Any:
    """A value; of a text that holds JSON, what it holds."""
    if isinstance(value, str) and _looks_like_json(value):
        lenient = read_lenient(value, min(k for c in "{[" if (k := value.find(c)) >= 0))
        return value if lenient is None else lenient.value
    return value


def _point(
    written: _Text, listed: Sequence[Mapping[str, Any]], num_images: int, notes: list[str]
) -> list[Pointing]:
    """Find for each object the words that it belongs to."""
    numbers = [_image_number(_first(item, _IMAGE)) for item in listed]
    # Some models count from 0. An image 0 proves it, unless there is also one that only counting from 1 has.
    present = [number for number in numbers if number is not None]
    if 0 in present and max(present) < num_images:
        numbers = [None if number is None else number + 1 for number in numbers]
        notes.append("the reply counts the images from 0; read as from 1")
    pointings: list[Pointing] = []
    for item, number in zip(listed, numbers, strict=True):
        phrase = _phrase(item)
        mark = _mark_for(written, phrase, _integer(item.get("id")))
        identifier = "" if number is None else f"(IMAGE{min(number, 10**9)})"
        if mark is None:
            notes.append(
                f"the answer does not mention {phrase[:60] or 'an object without a phrase'!r}; left out"
            )
            continue
        mark.used += 1
        name = next((name for name in _BOX if name in item), None)
        boxes: list[Box | None] = list(read_boxes(item[name], y_first=name in _Y_FIRST)) if name else []
        for pointing in (Pointing(mark.span, identifier, box) for box in boxes or [None]):
            if pointing not in pointings:
                pointings.append(pointing)
    for mark in written.marks:
        if not mark.used:
            notes.append(f"no object belongs to the marked phrase {mark.phrase[:60]!r}")
    return sorted(pointings[:MOST_OBJECTS], key=lambda pointing: pointing.span)


def _mark_for(written: _Text, phrase: str, id_: int | None) -> _Mark | None:
    """The words of an object, by the first rule that finds some.

    The mark with its id and its words; marks with its words, each in its turn, the last one again; the mark
    with its id; the places where its words stand unmarked, each in its turn, the last one again.
    """
    folded = phrase.casefold()
    same = [mark for mark in written.marks if folded and mark.phrase.casefold() == folded]
    exact = [mark for mark in same if id_ in mark.ids]
    if exact:
        return exact[0]
    if unused := [mark for mark in same if not mark.used]:
        return unused[0]
    if same and not same[-1].unmarked:
        return same[-1]
    by_id = [mark for mark in written.marks if id_ in mark.ids]
    if by_id:
        return by_id[0]
    # Not \b, which finds no border beside a phrase that ends in a sign: "the sign (left)".
    for match in re.finditer(rf"(?<!\w){re.escape(phrase)}(?!\w)", written.text, re.IGNORECASE):
        if folded and all(
            match.end() <= mark.span[0] or match.start() >= mark.span[1] for mark in written.marks
        ):
            # As a mark of its own, so that the next object with the same words gets the next place.
            written.marks.append(_Mark(match.span(), match[0], unmarked=True))
            return written.marks[-1]
    return same[-1] if same else None


def _first(content: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((content[name] for name in names if content.get(name) is not None), None)


def _phrase(item: Mapping[str, Any]) -> str:
    value = _first(item, _PHRASE)
    return _unmark(whole_unicode(value[:400])).text if isinstance(value, str) else ""


def _image_number(value: Any) -> int | None:
    """2, 2.0, "2", "image 2", "(IMAGE2)" -> 2, as the model wrote it. Never negative."""
    number = _integer(value)
    if number is None and isinstance(value, str):
        found = re.findall(r"\d{1,9}", value[:40])
        number = int(found[0]) if len(found) == 1 else None
    return number if number is None or number >= 0 else None


def _integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if abs(value) < 10**9 else 10**9
    if isinstance(value, float) and value.is_integer() and abs(value) < 10**9:
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,9}\s*", value):
        return int(value)
    return None
