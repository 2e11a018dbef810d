"""Questions typed in a hurry: small words left out, letters swapped; what is asked for stays.

A small language model comes to know the composed wordings by heart; a question that was never trained then
finds it helpless, although every word of it that matters is known.
"""

from __future__ import annotations

import re

import numpy as np

_WORD = re.compile(r"[A-Za-z']+")

SMALL_WORDS = frozenset(
    _WORD.findall(
        "a an and any are can could do does for have has i in is me of on please shown so that the then there"
        " these this to us which what would you"
    )
)
"""Words whose absence changes no question of the composers: no negation, number, side or reference."""

LEFT_OUT = 0.35
"""Chance of each small word to be left out of a noisy question."""

SLIPS = 0.15
"""Chance of a noisy question to have two neighbouring letters swapped in one long small word or verb."""


def hurried(question: str, rng: np.random.Generator, kept: frozenset[str] = frozenset()) -> str:
    """The question as someone in a hurry might type it; never empty.

    Args:
        kept: words (lower case) in which no letters are swapped: names.
    """
    words = question.split()
    lean = [w for w in words if _core(w) not in SMALL_WORDS or rng.random() >= LEFT_OUT]
    lean = lean or words
    if rng.random() < SLIPS:
        long = [
            k for k, w in enumerate(lean) if len(_core(w)) > 4 and _core(w).isalpha() and _core(w) not in kept
        ]
        if long:
            place = long[int(rng.integers(len(long)))]
            lean[place] = _slipped(lean[place], rng)
    return " ".join(lean)


def _core(word: str) -> str:
    found = _WORD.search(word)
    return found.group().lower() if found else ""


def _slipped(word: str, rng: np.random.Generator) -> str:
    """Swap two neighbouring letters inside the word; the first and the last stay."""
    found = _WORD.search(word)
    assert found is not None
    at = found.start() + 1 + int(rng.integers(max(len(found.group()) - 3, 1)))
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
