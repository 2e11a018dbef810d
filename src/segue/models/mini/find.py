"""Findings of a picture: which names it shows, each thing of a name with its place and size.

Legend: N pictures, A all names, g cells along the square at stride 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from segue.models.mini.findings import MOST_FINDINGS, Finding
from segue.models.mini.heat import are_kin, is_part, is_worn
from segue.models.mini.names import NameTable
from segue.models.mini.readout import GROUPS

FAINTEST = 0.1
"""Findings less present than this are not told."""

MOST_OF_A_NAME = 6
COOLEST = 0.35
"""Heat, as a fraction of the name's maximum, below which no further thing of it stands."""

QUIETEST = 0.3
"""Score of a further thing of a name, as a fraction of the best one's."""

FAINTEST_MIDDLE = 0.2
"""Probability of a middle below which only the best thing of a name is believed. With this and its neighbours
0.87 of the names in photographs held back from training are told with the right number of things; with 0.1
and things 0.45 of a side apart it was 0.77, and single things were told as two."""

NEAREST = 0.6
"""Two things of a name lie at least this multiple of the larger one's side apart."""

CROWDING = 0.7
"""How much a surer name takes from another one at the same place."""

CROWDING_IN_TRUNK = 0.2
"""The same between names that only the trunk knows: its softmax has let them compete already. Of such things
in the photographs that the readout learns from 0.78 are told as there, with `CROWDING` 0.71; what lists name,
the sure ones, stays the same."""

CROWDED = 0.6
"""Two names crowd each other where they lie less than this multiple of the smaller one's side apart."""

BEYOND_DOUBT = 0.97
"""Presence that no other name takes anything from. With this, the distance above and parts of one thing that
leave each other alone, photographs held back from training have 0.913 of their names told in place of 0.881,
and wrong ones stay at 0.8 %."""


@dataclass(frozen=True)
class Maps:
    """What is known of one picture, on cells of stride 8.

    Attributes:
        heat: `[A, g, g]` of all names, each over its own maximum, 0..1.
        presence: `[A]` calibrated, 0..1.
        centres: `[2 B, g, g]` 0..1 and log_areas: `[2 B, g, g]`, by group, for each of B readouts.
        places: `[2, g, g]` of `cell_places`.
    """

    heat: Tensor
    presence: Tensor
    centres: Tensor
    log_areas: Tensor
    places: Tensor


def joined_heat(trained: Tensor, folded: Tensor, evidence: Tensor, table: NameTable) -> Tensor:
    """Heat of all names from both sources, the one with more evidence counting more.

    Args:
        trained: `[T, g, g]` probabilities of the readout.
        folded: `[F, h, w]` probabilities of the trunk, on coarser cells.
        evidence: `[A, 2]` tails of both (see `Presence`).

    Returns:
        `[A, g, g]`, each name over its own maximum.
    """
    names = list(table.names)
    size = trained.shape[-2:]
    heat = trained.new_zeros(len(names), *size)
    rows = torch.tensor([names.index(name) for name in table.trained()])
    fine = trained / trained.amax((1, 2), keepdim=True).clamp(min=1e-4)
    heat[rows] = fine * (evidence[rows, 0] + 1e-3)[:, None, None]
    rows = torch.tensor([names.index(name) for name in table.folded()])
    coarse = F.interpolate(folded[None], size=size, mode="bilinear")[0]
    coarse = coarse / coarse.amax((1, 2), keepdim=True).clamp(min=1e-4)
    heat[rows] += coarse * (evidence[rows, 1] + 1e-3)[:, None, None]
    return heat / heat.amax((1, 2), keepdim=True).clamp(min=1e-6)


def find(maps: Maps, table: NameTable) -> list[Finding]:
    """The findings of a picture, the surest first, at most `MOST_FINDINGS`."""
    names = list(table.names)
    found: list[tuple[Finding, int]] = []
    for row in torch.nonzero(maps.presence >= FAINTEST)[:, 0].tolist():
        group = group_of(names[row], table)
        for score, (y, x), area in things(maps, row, group):
            presence = float(maps.presence[row]) * score**0.5
            found.append((Finding(names[row], presence, (y, x), area), row))
    return _uncrowded([finding for finding, _ in found], table)


def group_of(name: str, table: NameTable) -> int:
    """Which of the maps of middles and sizes speak of a name."""
    part = GROUPS.index("parts") if is_part(table.names[name]) else 0
    return part + len(GROUPS) * table.block(name)


def things(maps: Maps, row: int, group: int) -> list[tuple[float, tuple[float, float], float]]:
    """(score relative to the best, centre, area) of each thing of a name, the best first.

    A thing stands where the name is hot and where the readout sees the middle of something. Further ones
    must stand apart from better ones, by their size, and each in a middle of its own: heat alone has humps.
    """
    heat, centres = maps.heat[row], maps.centres[group]
    score = heat * (centres + 0.02)
    score = score * (maps.places.amax(0) < 1)
    peaks = (score == F.max_pool2d(score[None], 5, 1, 2)[0]) & (heat >= COOLEST)
    best = float(score[peaks].max()) if bool(peaks.any()) else 0.0
    if best <= 0:
        return []
    rows, columns = torch.nonzero(peaks & (score >= QUIETEST * best), as_tuple=True)
    order = score[rows, columns].argsort(descending=True, stable=True)
    kept: list[tuple[float, tuple[float, float], float]] = []
    for r, c in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        y, x = (float(v) for v in maps.places[:, r, c])
        area = float(maps.log_areas[group, r, c].exp().clamp(1e-4, 1.0))
        apart = all((y - b) ** 2 + (x - a) ** 2 > NEAREST**2 * max(area, size) for _, (b, a), size in kept)
        middle = not kept or float(centres[r, c]) >= FAINTEST_MIDDLE
        if apart and middle and len(kept) < MOST_OF_A_NAME:
            kept.append((float(score[r, c]) / best, (y, x), area))
    return kept


def _uncrowded(findings: Sequence[Finding], table: NameTable) -> list[Finding]:
    """Findings after surer ones of rival names have taken their share at the same place.

    Own data do not say how their names relate to those that the model knew, so these leave each other alone.
    """
    kept: list[Finding] = []
    for finding in sorted(findings, key=lambda f: (-f.presence, f.name, f.centre_yx)):
        presence = finding.presence
        for other in kept:
            if finding.presence < BEYOND_DOUBT and _crowd(finding, other, table):
                presence *= 1 - _taken(finding, other, table) * other.presence
        if presence >= FAINTEST:
            kept.append(Finding(finding.name, presence, finding.centre_yx, finding.area))
    return sorted(kept, key=lambda f: (-f.presence, f.name, f.centre_yx))[:MOST_FINDINGS]


def _taken(a: Finding, b: Finding, table: NameTable) -> float:
    """How much a surer finding takes from one that it crowds."""
    read = any(table.names[f.name].trained or table.block(f.name) for f in (a, b))
    return CROWDING if read else CROWDING_IN_TRUNK


def _crowd(a: Finding, b: Finding, table: NameTable) -> bool:
    """Whether two findings cannot both be right: near each other, neither kin nor parts of one thing."""
    one, two = table.names[a.name], table.names[b.name]
    if table.block(a.name) != table.block(b.name) or are_kin(one, two):
        return False
    if one.whole is not None and one.whole == two.whole:
        return False
    if is_worn(one) != is_worn(two) and is_part(one) and is_part(two):
        return False  # a coat lies on a torso
    squared = sum((u - v) ** 2 for u, v in zip(a.centre_yx, b.centre_yx, strict=True))
    return squared < CROWDED**2 * max(min(a.area, b.area), 0.01)
