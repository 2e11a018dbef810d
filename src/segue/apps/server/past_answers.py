"""Answers that a client sends back: their text and groundings, as the model wrote them once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from segue import protocol
from segue.apps.server.errors import ApiError, refusal
from segue.errors import InputError
from segue.protocol import MarkedSpan
from segue.records.conversation import MAX_IMAGES

_MOST_GROUNDINGS = 500


@dataclass(frozen=True)
class PastAnswer:
    """An earlier answer.

    Attributes:
        text: Without tags.
        spans: (start, end, image_index) of each mask, in the order of the text.
        where: Field of the message that it came in.
    """

    text: str
    spans: tuple[tuple[int, int, int], ...] = ()
    where: str = "messages"

    def markup(self, dialect: str, num_images: int) -> str:
        """The answer with the tags of its masks, as the model reads it.

        Args:
            dialect: Of the model.
            num_images: That the conversation shows.

        Raises:
            ApiError: The groundings cannot stand in this text, or in these images.
        """
        param = f"{self.where}.segue.groundings"
        if not self.spans:
            # Words of somebody else's: a tag among them is a word.
            return protocol.escape_user_text(self.text)
        marked: dict[tuple[int, int], list[int]] = {}
        for start, end, image in self.spans:
            if image >= num_images:
                raise _wrong(
                    "A grounding names an image that is not there.", param, f"below {num_images}", image
                )
            marked.setdefault((start, end), []).append(image)
        spans = [MarkedSpan(start, end, tuple(images)) for (start, end), images in marked.items()]
        try:
            return protocol.render(self.text, spans, dialect, num_images)
        except InputError as error:
            raise ApiError(error, param=param, code="invalid_value") from None


def joined(first: PastAnswer, second: PastAnswer, between: str) -> PastAnswer:
    """Two answers as one, with a text between them."""
    gap = between if first.text and second.text else ""
    moved = len(first.text) + len(gap)
    spans = tuple((start + moved, end + moved, image) for start, end, image in second.spans)
    return PastAnswer(first.text + gap + second.text, first.spans + spans, second.where)


def past_answer(text: str, segue: Any, where: str) -> PastAnswer:
    """Read an assistant's message.

    Args:
        text: Its content.
        segue: Its field `segue`, as the server sent it; only the groundings' `span`, `image_index` and
            `phrase` are looked at.
        where: Field of the message.

    Raises:
        ApiError: Groundings that do not fit the text.
    """
    where_segue = f"{where}.segue"
    if segue is None:
        return PastAnswer(text, (), where)
    if not isinstance(segue, dict):
        raise _wrong("`segue` is no object.", where_segue, '{"groundings": [...]}', segue)
    groundings = segue.get("groundings")
    if groundings is None:
        groundings = []
    if not isinstance(groundings, list) or len(groundings) > _MOST_GROUNDINGS:
        expected = f"a list of up to {_MOST_GROUNDINGS} groundings"
        raise _wrong("`groundings` cannot be read.", f"{where_segue}.groundings", expected, groundings)
    found = [
        _span(entry, text, f"{where_segue}.groundings.{number}") for number, entry in enumerate(groundings)
    ]
    # Sorting is stable: the masks of one phrase stay in their order.
    return PastAnswer(text, tuple(sorted(found, key=lambda span: span[:2])), where)


def _span(entry: Any, text: str, where: str) -> tuple[int, int, int]:
    span = entry.get("span") if isinstance(entry, dict) else None
    if not isinstance(span, list) or len(span) != 2 or not all(_is_count(value) for value in span):
        raise _wrong("A grounding has no span.", f"{where}.span", "[start, end] in the content", entry)
    start, end = span
    if not start <= end <= len(text):
        raise _wrong("A span lies outside the text.", f"{where}.span", f"0 to {len(text)}", span)
    phrase = entry.get("phrase")
    if phrase is not None and phrase != text[start:end]:
        expected = f"phrase {text[start:end]!r}"
        raise _wrong("A grounding's phrase is not that of its span.", f"{where}.phrase", expected, phrase)
    image = entry.get("image_index")
    if not _is_count(image) or image >= MAX_IMAGES:
        raise _wrong("A grounding names no image.", f"{where}.image_index", "its number from 0", image)
    return start, end, image


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _wrong(summary: str, param: str, expected: str, found: Any) -> ApiError:
    return refusal(
        summary, param, code="invalid_value", expected=expected, found=repr(found)[:200],
        fix="send the message back as it came, or leave `segue` out",
    )  # fmt: skip
