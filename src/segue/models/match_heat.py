"""What lies under a mark, found again by how alike features are: no training, no language.

Heat of a place = cosine to the mean feature under the mark, less cosine to the mean feature of the rest of
the marked picture. Divided by what the mark scores in its own picture, it can be compared between pictures,
marks and encoders.

Legend: C channels, h w cells over a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

WeightedMap = tuple[Tensor, float]
"""Features `[C, h, w]` over a picture and their weight."""

LOUDEST = 0.004
"""Fraction of the cells, the hottest ones, whose mean is a picture's score: eight of 2,000."""

FAINTEST = 1e-3
"""Heats are not divided by less than this."""


@dataclass(frozen=True)
class Likeness:
    """What a mark looks like, against the rest of its picture.

    Attributes:
        towards: A vector `[C]` for each map: the mark's mean direction less that of the rest.
        weights: Of the maps; they sum to 1.
        own: Loudness of the mark's own picture, which other pictures' are fractions of.

    Source: paper silent; ours, after the probes of `docs/matching.md`.
    """

    towards: tuple[Tensor, ...]
    weights: tuple[float, ...]
    own: float

    @classmethod
    def of(cls, maps: Sequence[WeightedMap], mark: Tensor) -> Likeness:
        """Likeness to a mark, bool `[H, W]` with something in it, in the picture that the maps are of."""
        towards, weights = [], []
        total = sum(weight for _, weight in maps)
        for features, weight in maps:
            covered = F.interpolate(mark[None, None].to(features), features.shape[-2:], mode="area")[0, 0]
            units = F.normalize(features, dim=0)
            towards.append(_mean_direction(units, covered) - _mean_direction(units, 1 - covered))
            weights.append(weight / total)
        found = cls(tuple(towards), tuple(weights), 1.0)
        return cls(found.towards, found.weights, max(loudness(found.heat(maps)), FAINTEST))

    def heat(self, maps: Sequence[WeightedMap]) -> Tensor:
        """Heat of another picture, `[h, w]` on the cells of its finest map; below zero what speaks against.

        Args:
            maps: Of the same encoders, in the same order.
        """
        size = max((tuple(features.shape[-2:]) for features, _ in maps), key=lambda hw: hw[0] * hw[1])
        total = torch.zeros(size)
        for (features, _), towards, weight in zip(maps, self.towards, self.weights, strict=True):
            units = F.normalize(features, dim=0)
            hot = torch.einsum("c,chw->hw", towards, units)
            resized = F.interpolate(hot[None, None], size, mode="bilinear", align_corners=False)[0, 0]
            total = total.to(resized) + weight * resized
        return total

    def score(self, heat: Tensor) -> float:
        """How surely the thing is in the picture of a heat: 0 for nothing alike, about 1 for itself."""
        return max(0.0, loudness(heat) / self.own)


def loudness(heat: Tensor) -> float:
    """Mean of the hottest cells of `[h, w]`."""
    values = heat.flatten()
    return float(values.topk(max(1, round(LOUDEST * len(values)))).values.mean())


def prompt_of(heat: Tensor) -> Tensor:
    """A heat `[h, w]` as fractions of its maximum: at most 1, below zero what speaks against, to -1.5."""
    return (heat / heat.amax().clamp(min=FAINTEST)).clamp(-1.5, 1.0)


def _mean_direction(units: Tensor, weights: Tensor) -> Tensor:
    """Mean of unit vectors `[C, h, w]` weighted by `[h, w]`, as a unit vector; zero where nothing weighs."""
    return F.normalize((units * weights).sum((1, 2)), dim=0)
