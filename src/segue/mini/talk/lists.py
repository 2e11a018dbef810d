"""Draws lists of findings as images would give them, with what is missing and what is wrong.

Answers are right by what the lists say, not by what a picture would show: a name that a list gives as
doubtful is not there, however it came about. So names, numbers, places and doubts need not be likely ones,
only varied: what is drawn at random teaches to read the list, not to know what rooms contain.
"""

from __future__ import annotations

import numpy as np

from segue.mini.talk.kinds import Kinds
from segue.models.mini.findings import CELLS, MOST_FINDINGS, SIZE_WORDS, Finding, listed, size_area
from segue.models.mini.presets_mini import MINI_COLOURS

PRESENCES = (0.15, 0.4, 0.65, 0.9)
"""One for each presence word."""

SEEN_SHARES, FALSE_SHARES = (0.03, 0.07, 0.25, 0.65), (0.55, 0.27, 0.14, 0.04)
"""Shares of presence words among what is there and among what only seems to be there."""

NUMBERS, NUMBER_SHARES = (1, 2, 3, 4, 5), (0.7, 0.18, 0.07, 0.03, 0.02)
"""Instances of a name in an image."""

COLOURED = 0.25
"""Share of conversations in whose lists every object has a colour."""

EMPTY = 0.08
"""Share of images in which nothing is there."""

PLAIN = 0.35
"""Share of the others in which one thing alone is there, as in most photographs."""

PART_SHARE = 0.5
"""Chance of each part of an owner that is there."""

OWNERS = 0.15
"""Share of conversations about things that have parts: a horse's head beside a cow's is rare without it,
and "the cow's head" was found in both images."""

NOVEL = 0.05
"""Share of conversations with a made-up name, two known words together: names are read off the list, not
known by heart."""

OUTFITS = 0.1
"""Share of conversations about dressed persons."""


class ListMaker:
    """Lists for the images of one conversation; some names are in several of them.

    Args:
        kinds: the names.
        rng: source of every choice.
        frequent: names that are drawn more often than others.
        owners: share of conversations about things that have parts.
    """

    def __init__(
        self,
        kinds: Kinds,
        rng: np.random.Generator,
        frequent: tuple[str, ...] = (),
        owners: float = OWNERS,
    ) -> None:
        self.kinds, self.rng, self.owners_share = kinds, rng, owners
        self.objects = [name for name in kinds.names if not kinds.thing(name).owner]
        self.owners = list(kinds.parts)
        worn = kinds.broader.get("clothing", frozenset())
        self.clothes = [name for name in self.objects if name in worn and "person" in kinds.kinds]
        self.frequent = [name for name in frequent if name in kinds.kinds]
        self.coloured = rng.random() < COLOURED
        self.novel = self._novel() if rng.random() < NOVEL else None

    def images(self, count: int) -> list[list[Finding]]:
        """As they are spelled: at most `MOST_FINDINGS` each, from left to right."""
        owners = bool(self.owners) and self.rng.random() < self.owners_share
        pool = [self._owner() if owners else self.name() for _ in range(int(self.rng.integers(2, 7)))]
        if self.clothes and self.rng.random() < OUTFITS:
            worn = self.rng.permutation(len(self.clothes))[: int(self.rng.integers(2, 6))].tolist()
            pool = ["person", "person", *(self.clothes[k] for k in worn)]
        if self.novel:
            pool[0] = self.novel
        return [listed(self._image(pool)) for _ in range(count)]

    def name(self) -> str:
        """Of an object."""
        if self.frequent and self.rng.random() < 0.25:
            return self.frequent[int(self.rng.integers(len(self.frequent)))]
        return self.objects[int(self.rng.integers(len(self.objects)))]

    def _owner(self) -> str:
        return self.owners[int(self.rng.integers(len(self.owners)))]

    def _image(self, pool: list[str]) -> list[Finding]:
        rng, found = self.rng, []
        drawn = rng.random()
        if EMPTY <= drawn < EMPTY + PLAIN:
            found += self._thing(pool[int(rng.integers(len(pool)))], SEEN_SHARES)
        elif drawn >= EMPTY + PLAIN:
            names = [name for name in pool if rng.random() < 0.45]
            names += [self.name() for _ in range(int(rng.integers(0, 3)))]
            for name in dict.fromkeys(names or [self.name()]):
                for _ in range(int(rng.choice(NUMBERS, p=NUMBER_SHARES))):
                    found += self._thing(name, SEEN_SHARES)
        for _ in range(min(int(rng.poisson(2.0)), 8)):
            # What seems to be there is often what another image of the conversation really shows.
            name = pool[int(rng.integers(len(pool)))] if rng.random() < 0.4 else self.name()
            found += self._thing(name, FALSE_SHARES)[:1]
        return found[: 2 * MOST_FINDINGS]

    def _thing(self, name: str, shares: tuple[float, ...]) -> list[Finding]:
        """A thing and some of its parts, which lie near it and are as sure or less."""
        rng = self.rng
        word, size = int(rng.choice(4, p=shares)), int(rng.integers(len(SIZE_WORDS)))
        cell = rng.integers(CELLS, size=2)
        colour = MINI_COLOURS[int(rng.integers(len(MINI_COLOURS)))] if self.coloured else None
        found = [drawn_finding(name, word, cell, size, colour)]
        for part in self.kinds.parts.get(name, ()):
            if rng.random() < PART_SHARE:
                near = np.clip(cell + rng.integers(-2, 3, size=2), 0, CELLS - 1)
                part_word = int(rng.integers(max(word - 1, 0), word + 1))
                found.append(
                    drawn_finding(part, part_word, near, max(size - int(rng.integers(1, 4)), 0), None)
                )
        return found

    def _novel(self) -> str:
        """A made-up name."""
        return " ".join(self.name().split()[-1] for _ in range(2))


def drawn_finding(name: str, word: int, cell: np.ndarray, size: int, colour: str | None) -> Finding:
    """A finding by the places of its words: of `PRESENCES`, of a cell (x, y), of `SIZE_WORDS`."""
    x, y = ((cell + 0.5) / CELLS).tolist()
    return Finding(name, PRESENCES[word], (y, x), size_area(size), colour)
