"""The result of a rule, and the limits that all rules keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from segue.data.language import english
from segue.datasets.m4seg.listing import ListedRegion
from segue.datasets.m4seg.template.facts import SetFacts
from segue.datasets.m4seg.template.words import pick

Rng = np.random.Generator
MOST_NAMED = 4
"""Regions named of one image; three images then stay below 16 masks."""
CLEARLY = 1.3
"""Ratio from which on one share of the picture is plainly larger than another."""


@dataclass(frozen=True)
class Made:
    """A question, its answer with identifiers, and what it is about, so that a set asks each thing once."""

    question: str
    answer: str
    about: str


Maker = Callable[[SetFacts, Rng], Made | None]


def some(rng: Rng, names: list[str]) -> str | None:
    """Choose a name; None where there is none."""
    return pick(rng, names) if names else None


def all_of(names: str) -> str:
    """Name all of a kind: "cups", "hair"."""
    return english.plural(names) if english.is_countable(names) else names


def one_name(rng: Rng, entries: list[ListedRegion]) -> list[ListedRegion]:
    """Keep the entries of one name, chosen at random among theirs."""
    name = pick(rng, sorted({entry.name for entry in entries}))
    return [entry for entry in entries if entry.name == name]
