"""Text under construction whose phrases are grounded: text and spans grow together, offsets cannot drift."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Self, TypeVar

from segue.data.formats.annotations import AnnotatedRegion

Payload = TypeVar("Payload")


@dataclass(frozen=True)
class GroundedSpan(Generic[Payload]):
    """Characters `[start, end)` of a text, which name something in one image.

    Attributes:
        start: First character of the phrase.
        end: The character after it.
        image_index: The image that shows what is named, 0-based.
        payload: What is named, in the terms of the caller: regions, a label, an object of a drawn scene.
    """

    start: int
    end: int
    image_index: int
    payload: Payload


class GroundedText(Generic[Payload]):
    """Text with grounded phrases, written from left to right.

    `GroundedText[str]("Here is ").ground("a mug", 1, "cup")` holds the text "Here is a mug" and a span of the
    characters `[8, 13)`, which name what image 1 shows and the caller calls "cup".

    Args:
        text: Plain text to begin with.

    Source: paper silent; ours.
    """

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.spans: list[GroundedSpan[Payload]] = []

    def say(self, text: str) -> Self:
        """Add plain text."""
        self.text += text
        return self

    def ground(self, phrase: str, image_index: int, payload: Payload) -> Self:
        """Add a phrase and remember what it names."""
        start = len(self.text)
        self.spans.append(GroundedSpan(start, start + len(phrase), image_index, payload))
        return self.say(phrase)

    def extend(self, tail: GroundedText[Payload]) -> Self:
        """Add another text; its spans move with it."""
        offset = len(self.text)
        # Behind "Here is ", 8 characters, a phrase at [2, 5) of the tail stands at [10, 13).
        self.spans += [replace(span, start=span.start + offset, end=span.end + offset) for span in tail.spans]
        return self.say(tail.text)

    def sentence(self) -> Self:
        """Begin another sentence: a blank unless this is the first."""
        return self.say(" ") if self.text else self

    def capitalize(self) -> Self:
        """Give the text a capital; only the first letter, since `str.capitalize` would lower all others."""
        # The length stays, and with it every span.
        self.text = self.text[:1].upper() + self.text[1:]
        return self

    def join(self, pieces: Sequence[Callable[[], object]], *, comma_before_and: bool = False) -> Self:
        """Write pieces as a list: "A", "A and B", "A, B and C".

        Args:
            pieces: Each writes itself into this text when called.
            comma_before_and: Whether three and more read "A, B, and C".
        """
        last_joint = ", and " if comma_before_and and len(pieces) > 2 else " and "
        for position, piece in enumerate(pieces):
            if position:
                self.say(last_joint if position == len(pieces) - 1 else ", ")
            piece()
        return self


RegionText = GroundedText[tuple[AnnotatedRegion, ...]]
"""Text about annotated images; the payload of a span is the regions it names."""
