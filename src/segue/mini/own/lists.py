"""Findings as the images of own data would give them, with what is missing and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segue.mini.look.photographs import Photograph, coverage
from segue.mini.look.targets import MASK_CELLS, middle_and_area
from segue.mini.talk.lists import FALSE_SHARES, PRESENCES, SEEN_SHARES
from segue.models.mini.findings import Finding, listed
from segue.models.mini.picture import inside_square

OWN_SHARE = 0.5
"""Share of conversations about lists of own data; the others are over all names, lest one be forgotten."""

IMAGE_SHARES = (0.3, 0.4, 0.3)
"""One, two, three images, as own data are asked about."""

FALSE_NAMES = 2.0
"""Names that an image only seems to show, on average."""

JITTER = 0.03
"""How far findings lie from the true middles, as fractions of the picture."""


class OwnLists:
    """Draws lists of findings of own photographs.

    Args:
        photographs: at least one.
        names: of the data.

    Source: paper silent; ours.
    """

    def __init__(self, photographs: Sequence[Photograph], names: Sequence[str]) -> None:
        self.photographs, self.names = photographs, names
        self._true: dict[int, list[tuple[str, tuple[float, float], float]]] = {}

    def __call__(self, rng: np.random.Generator) -> list[list[Finding]] | None:
        """Lists of one to three images; None where all names shall be drawn from."""
        if rng.random() >= OWN_SHARE:
            return None
        count = min(1 + int(rng.choice(3, p=IMAGE_SHARES)), len(self.photographs))
        rows = rng.choice(len(self.photographs), count, replace=False)
        return [self.findings(int(row), rng) for row in rows]

    def findings(self, row: int, rng: np.random.Generator) -> list[Finding]:
        """Of one photograph."""
        found = []
        for name, (y, x), area in self.true(row):
            word = int(rng.choice(len(PRESENCES), p=SEEN_SHARES))
            y, x = np.clip(np.array([y, x]) + JITTER * rng.standard_normal(2), 0, 1).tolist()
            size = float(np.clip(area * np.exp(0.3 * rng.standard_normal()), 1e-4, 1.0))
            found.append(Finding(name, PRESENCES[word], (y, x), size))
        lacking = sorted(self.photographs[row].known - self.photographs[row].shown())
        for _ in range(min(int(rng.poisson(FALSE_NAMES)), len(lacking))):
            word = int(rng.choice(len(PRESENCES), p=FALSE_SHARES))
            y, x, size = rng.random(3).tolist()
            found.append(Finding(lacking[int(rng.integers(len(lacking)))], PRESENCES[word], (y, x), size / 4))
        return listed(found)

    def true(self, row: int) -> list[tuple[str, tuple[float, float], float]]:
        """Name, middle and area of everything that a photograph shows; worked out once."""
        if row not in self._true:
            photograph = self.photographs[row]
            inside = inside_square(*photograph.hw)
            self._true[row] = [
                (region.name, *middle_and_area(coverage(region.rle, inside, MASK_CELLS), inside))
                for region in photograph.regions
            ]
        return self._true[row]
