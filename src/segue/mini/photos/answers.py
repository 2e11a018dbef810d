"""Sentences about photographs of which some words are grounded, each with its label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from segue.data.language.grounded_text import GroundedSpan, GroundedText
from segue.mini.photos.labels import LABELS, indefinite

PhotoKind = Literal["presence", "attribute", "comparison", "location"]


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
    spans: tuple[GroundedSpan[str], ...]
    kind: PhotoKind
    level: Literal["object", "part"]
    needs_images: bool
    template: str
    is_follow_up: bool = False


PhotoText = GroundedText[str]
"""An answer under construction; the payload of a span is its label."""

Piece = Callable[..., None]
"""Writes itself into a `PhotoText`; called with `(text, capital)`."""


def be(label: str) -> str:
    """`is` or `are`."""
    return "are" if LABELS[label].number == "plural" else "is"


def article(label: str) -> str:
    """`a `, `an ` or nothing."""
    return indefinite(label, LABELS[label].number)[: -len(label)]


def wears(label: str, k: int) -> Piece:
    """`the person in image 2 wears a coat`, the coat grounded."""

    def write(text: PhotoText, capital: bool = False) -> None:
        text.say(f"{'The' if capital else 'the'} person in image {k + 1} wears {article(label)}").ground(
            label, k, label
        )

    return write


def worn(label: str, k: int) -> Piece:
    """`a coat`, the coat grounded."""

    def write(text: PhotoText, capital: bool = False) -> None:
        text.say(article(label)).ground(label, k, label)

    return write


def the(label: str, k: int) -> Piece:
    """`the hair in image 2`, the hair grounded."""

    def write(text: PhotoText, capital: bool = False) -> None:
        text.say("The " if capital else "the ").ground(label, k, label).say(f" in image {k + 1}")

    return write


def coloured(label: str, k: int, colour: str) -> Piece:
    """`the hair in image 2 is brown`: the colour stays outside the grounded phrase."""

    def write(text: PhotoText, capital: bool = False) -> None:
        the(label, k)(text, capital)
        text.say(f" {be(label)} {colour}")

    return write


def join(text: PhotoText, pieces: Sequence[Piece], capital: bool = True) -> None:
    """Write `A`, `A and B` or `A, B, and C`; the first begins the sentence when `capital`."""
    written = [partial(piece, text, capital and position == 0) for position, piece in enumerate(pieces)]
    text.join(written, comma_before_and=True)


def absent(text: PhotoText, label: str, images: Sequence[int]) -> None:
    """Say which images lack the label: `There are no trousers in images 1 and 3.`"""
    if not images:
        return
    numbers = [str(k + 1) for k in images]
    if len(numbers) == 1:
        where = f"image {numbers[0]}"
    else:
        where = f"images {', '.join(numbers[:-1])}{',' if len(numbers) > 2 else ''} and {numbers[-1]}"
    text.sentence().say(f"There {be(label)} no {label} in {where}.")


def exchange(
    question: str, text: PhotoText, kind: PhotoKind, template: str, needs_images: bool = True
) -> PhotoExchange:
    """Finish an answer; it is at object level when it grounds a whole person."""
    level: Literal["object", "part"] = "object" if any(s.payload == "person" for s in text.spans) else "part"
    question = question[0].upper() + question[1:]
    return PhotoExchange(question, text.text, tuple(text.spans), kind, level, needs_images, template)
