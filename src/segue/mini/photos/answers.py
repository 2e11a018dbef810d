"""Sentences of which some words are grounded: text and spans grow together, so offsets cannot drift."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from segue.mini.photos.labels import LABELS, indefinite

PhotoKind = Literal["presence", "attribute", "comparison", "location"]


@dataclass(frozen=True)
class PhotoSpan:
    """A grounded phrase: characters `[start, end)` of the answer are `label`, seen in one image (0-based)."""

    start: int
    end: int
    image_index: int
    label: str


@dataclass(frozen=True)
class PhotoExchange:
    """A question and its answer.

    Attributes:
        question: What the user asks.
        answer: Tag-free text.
        spans: Grounded phrases, in the order of the text.
        kind: `presence` (who wears X), `attribute` (colour), `comparison` (across images) or `location`
            (show X).
        level: `object` when the person is grounded, otherwise `part`.
        needs_images: False when conversation and question alone fix the answer (segment what is named).
        template: Name in `WORDINGS`.
        is_follow_up: The question makes sense only after the turn before.
    """

    question: str
    answer: str
    spans: tuple[PhotoSpan, ...]
    kind: PhotoKind
    level: Literal["object", "part"]
    needs_images: bool
    template: str
    is_follow_up: bool = False


class AnswerText:
    """An answer under construction: plain text and grounded labels."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self.spans: list[PhotoSpan] = []

    def say(self, text: str) -> AnswerText:
        """Add plain text."""
        self._pieces.append(text)
        self._length += len(text)
        return self

    def ground(self, label: str, image_index: int) -> AnswerText:
        """Add a label and remember where it stands and in which image it is seen."""
        self.spans.append(PhotoSpan(self._length, self._length + len(label), image_index, label))
        return self.say(label)

    def __str__(self) -> str:
        return "".join(self._pieces)


Piece = Callable[..., None]
"""Writes itself into an `AnswerText`; called with `(text, capital)`."""


def be(label: str) -> str:
    """`is` or `are`."""
    return "are" if LABELS[label].number == "plural" else "is"


def article(label: str) -> str:
    """`a `, `an ` or nothing."""
    return indefinite(label, LABELS[label].number)[: -len(label)]


def wears(label: str, k: int) -> Piece:
    """`the person in image 2 wears a coat`, the coat grounded."""

    def write(text: AnswerText, capital: bool = False) -> None:
        text.say(f"{'The' if capital else 'the'} person in image {k + 1} wears {article(label)}").ground(
            label, k
        )

    return write


def worn(label: str, k: int) -> Piece:
    """`a coat`, the coat grounded."""

    def write(text: AnswerText, capital: bool = False) -> None:
        text.say(article(label)).ground(label, k)

    return write


def the(label: str, k: int) -> Piece:
    """`the hair in image 2`, the hair grounded."""

    def write(text: AnswerText, capital: bool = False) -> None:
        text.say("The " if capital else "the ").ground(label, k).say(f" in image {k + 1}")

    return write


def coloured(label: str, k: int, colour: str) -> Piece:
    """`the hair in image 2 is brown`: the colour stays outside the grounded phrase."""

    def write(text: AnswerText, capital: bool = False) -> None:
        the(label, k)(text, capital)
        text.say(f" {be(label)} {colour}")

    return write


def join(text: AnswerText, pieces: Sequence[Piece], capital: bool = True) -> None:
    """Write `A`, `A and B` or `A, B, and C`; the first begins the sentence when `capital`."""
    for position, piece in enumerate(pieces):
        if position:
            last = position == len(pieces) - 1
            text.say((", and " if len(pieces) > 2 else " and ") if last else ", ")
        piece(text, capital and position == 0)


def absent(text: AnswerText, label: str, images: Sequence[int]) -> None:
    """Say which images lack the label: `There are no trousers in images 1 and 3.`"""
    if not images:
        return
    numbers = [str(k + 1) for k in images]
    if len(numbers) == 1:
        where = f"image {numbers[0]}"
    else:
        where = f"images {', '.join(numbers[:-1])}{',' if len(numbers) > 2 else ''} and {numbers[-1]}"
    text.say(f"{' ' if str(text) else ''}There {be(label)} no {label} in {where}.")


def append(text: AnswerText, tail: AnswerText, capital: bool) -> AnswerText:
    """Continue a sentence with another text; its first letter loses its capital unless `capital`."""
    words = str(tail)
    offset = len(str(text))
    text.say(words if capital else words[0].lower() + words[1:])
    text.spans += [replace(span, start=span.start + offset, end=span.end + offset) for span in tail.spans]
    return text


def exchange(
    question: str, text: AnswerText, kind: PhotoKind, template: str, needs_images: bool = True
) -> PhotoExchange:
    """Finish an answer; it is at object level when it grounds a whole person."""
    level: Literal["object", "part"] = "object" if any(s.label == "person" for s in text.spans) else "part"
    question = question[0].upper() + question[1:]
    return PhotoExchange(question, str(text), tuple(text.spans), kind, level, needs_images, template)
