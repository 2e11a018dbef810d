"""What was found in an image, and how it is spelled to the language model in words.

Literal, a picture with a dog on the left and a sofa that fills its lower half::

    dog sure left halfway middling xb yg . sofa likely middle bottom huge xf yj

Presence, place and size are words of a small list, so that a language model learns them from lists of
findings that no picture was ever made for. Findings say what an image shows and never what was asked: the
next question of a conversation meets the same list.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from segue.errors import InputError

MOST_FINDINGS = 16
"""Findings of one image that are spelled; the surest stay."""

PRESENCE_WORDS = ("doubtful", "unsure", "likely", "sure")
PRESENCE_BOUNDS = (0.3, 0.5, 0.8)
"""Where the next word begins. From 0.5 on a thing is taken to be there."""

SIDE_WORDS, HEIGHT_WORDS = ("left", "middle", "right"), ("top", "halfway", "bottom")
CELLS = 12
"""Fine places along each side of the picture, four of them to a coarse word."""

COLUMN_WORDS, ROW_WORDS = (tuple(axis + letter for letter in "abcdefghijkl") for axis in "xy")
"""Words for fine places: xa is leftmost, ya uppermost. Letters, because tokenizers split digits off."""

SIZE_WORDS = ("tiny", "little", "small", "middling", "large", "big", "huge", "vast")
SIZE_BOUNDS = (0.003, 0.008, 0.02, 0.05, 0.1, 0.2, 0.4)
"""Areas, as fractions of the picture, where the next word begins: each holds about twice the one before."""

SEPARATOR = " . "


@dataclass(frozen=True)
class Finding:
    """A thing, or a part of one, that an image seems to show.

    Args:
        name: what it is called, in the singular.
        presence: calibrated probability that it is there, 0 to 1.
        centre_yx: its middle, 0 to 1 from the top and from the left of the picture.
        area: fraction of the picture that it covers.
        colour: the word for its colour; None where it was not told.

    Raises:
        InputError: a name that cannot be spelled, or a number out of its range.

    Source: paper silent; ours.
    """

    name: str
    presence: float
    centre_yx: tuple[float, float]
    area: float
    colour: str | None = None

    def __post_init__(self) -> None:
        if not self.name or self.name != " ".join(self.name.split()) or "." in self.name.split():
            raise InputError(
                "a finding's name cannot be spelled",
                expected="words with one blank between them, none of them a full stop",
                found=repr(self.name),
                where="Finding.name",
                fix="clean the name",
            )
        numbers = (self.presence, *self.centre_yx, self.area)
        if not all(0.0 <= value <= 1.0 for value in numbers):
            raise InputError(
                "a finding's numbers are out of range",
                expected="presence, centre and area from 0 to 1",
                found=str(numbers),
                where=f"Finding {self.name!r}",
                fix="give the centre and the area as fractions of the picture",
            )

    @property
    def presence_word(self) -> str:
        """One of `PRESENCE_WORDS`."""
        return PRESENCE_WORDS[bisect.bisect_right(PRESENCE_BOUNDS, self.presence)]

    @property
    def cell_xy(self) -> tuple[int, int]:
        """Column and row of the centre among `CELLS`, counted from 0."""
        y, x = self.centre_yx
        return min(int(x * CELLS), CELLS - 1), min(int(y * CELLS), CELLS - 1)

    @property
    def size(self) -> int:
        """Place of its area in `SIZE_WORDS`."""
        return bisect.bisect_right(SIZE_BOUNDS, self.area)

    @property
    def words(self) -> list[str]:
        """Its name and what is said of it: one word each of presence, side, height, size, column, row."""
        column, row = self.cell_xy
        said = [
            self.presence_word,
            SIDE_WORDS[column * len(SIDE_WORDS) // CELLS],
            HEIGHT_WORDS[row * len(HEIGHT_WORDS) // CELLS],
            SIZE_WORDS[self.size],
            COLUMN_WORDS[column],
            ROW_WORDS[row],
        ]
        return [self.name, *said, *([self.colour] if self.colour else [])]


def finding_vocabulary() -> tuple[str, ...]:
    """Every word that `Finding.words` can say beside names and colours."""
    return (*PRESENCE_WORDS, *SIDE_WORDS, *HEIGHT_WORDS, *SIZE_WORDS, *COLUMN_WORDS, *ROW_WORDS)


def listed(findings: Iterable[Finding]) -> list[Finding]:
    """The findings of an image as they are spelled: the surest `MOST_FINDINGS`, from left to right.

    Among equally sure ones the larger stay; what stands in one column goes from top to bottom. The order
    depends on nothing that the words do not say, except between findings of the same words.
    """
    surest = sorted(findings, key=lambda f: (-f.presence, -f.area, f.words))[:MOST_FINDINGS]
    return sorted(surest, key=lambda f: (f.cell_xy, -f.size, f.words))


def spell(findings: Iterable[Finding]) -> str:
    """Findings of one image as text, `listed` and with full stops between them."""
    return SEPARATOR.join(" ".join(finding.words) for finding in listed(findings))


def parse_spelled(text: str, colours: Sequence[str] = ()) -> list[Finding]:
    """Findings from their spelling, with the middle of what each word stands for.

    `spell(parse_spelled(spell(findings), colours)) == spell(findings)`.

    Args:
        text: what `spell` gives.
        colours: the words that can end a finding as its colour.

    Raises:
        InputError: not such a text.
    """
    return [_parsed(part, colours) for part in text.split(SEPARATOR)] if text else []


def _parsed(part: str, colours: Sequence[str]) -> Finding:
    words = part.split(" ")
    colour = words.pop() if words[-1] in colours and len(words) > 7 else None
    *name, presence, _, _, size, column, row = words if len(words) > 6 else [*[""] * 7]
    try:
        return Finding(
            " ".join(name),
            _middle(PRESENCE_BOUNDS, PRESENCE_WORDS.index(presence)),
            ((ROW_WORDS.index(row) + 0.5) / CELLS, (COLUMN_WORDS.index(column) + 0.5) / CELLS),
            size_area(SIZE_WORDS.index(size)),
            colour,
        )
    except ValueError as error:  # InputError is one
        raise InputError(
            "not a spelled finding",
            expected='a name and six words, such as "dog sure left top large xb ya"',
            found=repr(part),
            where="parse_spelled",
            fix="give what `spell` wrote",
        ) from error


def _middle(bounds: Sequence[float], place: int) -> float:
    edges = list(pairwise((0.0, *bounds, 1.0)))[place]
    return sum(edges) / 2


def size_area(size: int) -> float:
    """The area that a size word stands for: the geometric middle of its range."""
    low, high = list(pairwise((SIZE_BOUNDS[0] / 2, *SIZE_BOUNDS, 1.0)))[size]
    return math.sqrt(low * high)
