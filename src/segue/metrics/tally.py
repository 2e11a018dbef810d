"""A score is a ratio of two sums over samples; so are its strata and its confidence interval.

Each sample contributes a numerator and a denominator to each score: (IoU of the sample, 1) for a mean over
samples, (true positives, targets) for a recall over all targets. Leaving samples out, grouping them and
drawing them anew (bootstrap) are then the same sum over other weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Tally(NamedTuple):
    """Contribution of one sample to a score: `value` to the sum above, `weight` to the sum below."""

    value: float
    weight: float


Tallies = Mapping[str, Tally]
"""A sample's contributions, by score; a score that it says nothing about is absent."""


class Interval(NamedTuple):
    """Bounds between which the score lies in the given share of the drawings."""

    low: float
    high: float


def score(tallies: Iterable[Tally]) -> float | None:
    """Sum of the values over sum of the weights; None where the weights sum to nothing.

    Worked example, recall: `score([Tally(1, 2), Tally(3, 3)])` is 4 / 5.
    """
    pairs = list(tallies)
    weight = sum(pair.weight for pair in pairs)
    return float(sum(pair.value for pair in pairs) / weight) if weight else None


def scores(samples: Sequence[Tallies]) -> dict[str, float | None]:
    """Every score that any of the samples contributes to."""
    names = dict.fromkeys(name for sample in samples for name in sample)
    return {name: score(sample[name] for sample in samples if name in sample) for name in names}


def bootstrap(
    samples: Sequence[Tallies], *, drawings: int = 1000, share: float = 0.95, seed: int = 0
) -> dict[str, Interval | None]:
    """Percentile intervals of every score, from samples drawn anew with replacement.

    Samples are drawn whole, so that the masks of one conversation, which stand or fall together, stay so.

    Args:
        samples: One mapping per sample.
        drawings: How often all samples are drawn.
        share: Of the drawings that lie inside.
        seed: Of the drawing.

    Returns:
        None for a score of fewer than two samples: nothing can be said of its spread.

    Source: Efron 1979, percentile bootstrap; papers silent; ours.
    """
    names = dict.fromkeys(name for sample in samples for name in sample)
    rng = np.random.default_rng(seed)
    count = len(samples)
    # How often each sample is drawn: drawing n of n with replacement is a multinomial, and one product then
    # gives the sums of all drawings.
    times = rng.multinomial(count, np.full(count, 1 / count), size=drawings) if count else np.zeros((0, 0))
    found: dict[str, Interval | None] = {}
    for name in names:
        pairs = np.array([sample.get(name, Tally(0, 0)) for sample in samples], dtype=float)
        if np.count_nonzero(pairs[:, 1]) < 2:
            found[name] = None
            continue
        above, below = times @ pairs[:, 0], times @ pairs[:, 1]
        # A drawing may hold no sample that the score is about.
        drawn = above[below > 0] / below[below > 0]
        if not len(drawn):
            found[name] = None
            continue
        low, high = np.quantile(drawn, [(1 - share) / 2, (1 + share) / 2])
        found[name] = Interval(float(low), float(high))
    return found
