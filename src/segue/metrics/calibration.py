"""How far probabilities are from what happens: reliability, expected calibration error, Brier score, AUC.

Each takes N probabilities (or scores) and N truths; over nothing all are None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10
"""Of equal width. Source: Guo et al. (2017) use 15 for 10,000 samples; ours, because samples are fewer."""


@dataclass(frozen=True)
class Bin:
    """Probabilities between two bounds.

    Attributes:
        low, high: bounds; the last bin holds 1 too.
        count: how many.
        mean: of the probabilities; 0 where there are none.
        frequency: share of them that came true; 0 where there are none.
    """

    low: float
    high: float
    count: int
    mean: float
    frequency: float


def reliability(probabilities: Sequence[float], truths: Sequence[bool], bins: int = BINS) -> list[Bin]:
    """Probabilities against frequencies, bin by bin.

    Source: DeGroot and Fienberg (1983), reliability diagrams.
    """
    values, happened = _arrays(probabilities, truths)
    place = np.minimum((values * bins).astype(int), bins - 1)
    found = []
    for number in range(bins):
        inside = place == number
        count = int(inside.sum())
        mean = float(values[inside].mean()) if count else 0.0
        frequency = float(happened[inside].mean()) if count else 0.0
        found.append(Bin(number / bins, (number + 1) / bins, count, mean, frequency))
    return found


def expected_calibration_error(
    probabilities: Sequence[float], truths: Sequence[bool], bins: int = BINS
) -> float | None:
    """Mean distance between probability and frequency of a bin, bins weighted by their counts.

    >>> round(expected_calibration_error([0.9, 0.9, 0.1, 0.1], [True, False, False, False]), 6)
    0.25

    Source: Naeini et al. (2015); alias ECE.
    """
    if not len(probabilities):
        return None
    total = sum(b.count * abs(b.mean - b.frequency) for b in reliability(probabilities, truths, bins))
    return total / len(probabilities)


def brier_score(probabilities: Sequence[float], truths: Sequence[bool]) -> float | None:
    """Mean squared distance between probability and truth; 0.25 for one that always says one half.

    Source: Brier (1950).
    """
    if not len(probabilities):
        return None
    values, happened = _arrays(probabilities, truths)
    return float(((values - happened) ** 2).mean())


def ranking_auc(scores: Sequence[float], truths: Sequence[bool]) -> float | None:
    """Share of pairs of a true and a false one in which the true one has the higher score; ties count half.

    None without a true or without a false one. A calibration that is monotonous leaves it as it is.

    Source: Mann and Whitney (1947); alias area under the ROC curve.
    """
    values, happened = _arrays(scores, truths)
    true, false = values[happened == 1], values[happened == 0]
    if not len(true) or not len(false):
        return None
    above = (true[:, None] > false[None]).mean() + 0.5 * (true[:, None] == false[None]).mean()
    return float(above)


def _arrays(
    probabilities: Sequence[float], truths: Sequence[bool]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.asarray(probabilities, dtype=np.float64), np.asarray(truths, dtype=np.float64)
