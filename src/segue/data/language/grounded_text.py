"""An answer under construction: text and spans grow together, so that offsets cannot drift."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from segue.data.formats.annotations import AnnotatedRegion

MOST_MASKS = 4
"""Up to so many regions under one phrase are a mask each; more become one mask, their union."""


@dataclass(frozen=True)
class GroundedSpan:
    """Characters `[start, end)` name these regions of one image (0-based)."""

    start: int
    end: int
    image_index: int
    regions: tuple[AnnotatedRegion, ...]

    @property
    def merge(self) -> Literal["each", "union"]:
        """Whether each region is a mask of its own."""
        return "each" if len(self.regions) <= MOST_MASKS else "union"


class GroundedText:
    """Text with grounded phrases."""

    def __init__(self) -> None:
        self.text = ""
        self.spans: list[GroundedSpan] = []

    def say(self, text: str) -> GroundedText:
        """Add plain text."""
        self.text += text
        return self

    def ground(self, phrase: str, image_index: int, regions: Sequence[AnnotatedRegion]) -> GroundedText:
        """Add a phrase and remember which regions it names."""
        start = len(self.text)
        self.spans.append(GroundedSpan(start, start + len(phrase), image_index, tuple(regions)))
        return self.say(phrase)

    def sentence(self) -> GroundedText:
        """Begin another sentence: a blank unless this is the first."""
        return self.say(" ") if self.text else self

    def join(self, pieces: Sequence[Callable[[], object]]) -> GroundedText:
        """Write pieces as a list: "A", "A and B", "A, B and C"."""
        for position, piece in enumerate(pieces):
            if position:
                self.say(" and " if position == len(pieces) - 1 else ", ")
            piece()
        return self
