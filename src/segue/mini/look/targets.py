"""What the readout and the mask decoder should have said of a photograph.

Legend: T trained names, g cells along the square at stride 8, m at stride 2 (masks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segue.mini.look.photographs import Photograph, Region, coverage, doubts, hidden_names
from segue.models.mini.heat import is_part
from segue.models.mini.names import NameTable
from segue.models.mini.picture import SIDE

CELLS = SIDE // 8
MASK_CELLS = SIDE // 2

SMALLEST = 2e-3
"""Smaller fractions of the picture are asked for too rarely to teach masks with."""


@dataclass(frozen=True)
class Target:
    """One mask to draw.

    Attributes:
        name: what it shows.
        mask: `[m, m]` coverage from 0 to 1.
        others: `[m, m]` coverage of the other things (or other parts) of the picture.
        centre_yx, area: of the mask, as fractions of the picture.
        whole_name: the mask holds everything of the name; else it is one of several.
    """

    name: str
    mask: NDArray[np.float32]
    others: NDArray[np.float32]
    centre_yx: tuple[float, float]
    area: float
    whole_name: bool


@dataclass(frozen=True)
class CellTargets:
    """What cells show: all `[.., g, g]`.

    Attributes:
        names, name_weights: `[T, ..]` coverage, and how much each cell counts.
        centres, centre_weights: `[2, ..]` by group (things, parts).
        log_areas, area_weights: `[2, ..]`.
        presence: `[T]` 1 there, 0 not there, -1 unknown.
    """

    names: NDArray[np.float32]
    name_weights: NDArray[np.float32]
    centres: NDArray[np.float32]
    centre_weights: NDArray[np.float32]
    log_areas: NDArray[np.float32]
    area_weights: NDArray[np.float32]
    presence: NDArray[np.float32]


@dataclass(frozen=True)
class Drawn:
    """A region with its mask on the mask grid."""

    region: Region
    part: bool
    mask: NDArray[np.float32]


def drawn_regions(photograph: Photograph, inside: Sequence[int], table: NameTable) -> list[Drawn]:
    """All regions of a photograph on the mask grid."""
    return [
        Drawn(region, is_part(table.names[region.name]), coverage(region.rle, inside, MASK_CELLS))
        for region in photograph.regions
    ]


def middle_and_area(mask: NDArray[np.float32], inside: Sequence[int]) -> tuple[tuple[float, float], float]:
    """Centre of mass (y, x) and area of a mask `[m, m]`, as fractions of the picture inside the square."""
    height, width = (int(side) * MASK_CELLS / SIDE for side in inside)
    rows, columns = mask.sum(1), mask.sum(0)
    total = max(float(rows.sum()), 1e-6)
    steps = np.arange(MASK_CELLS) + 0.5
    y, x = float(rows @ steps) / total / height, float(columns @ steps) / total / width
    return (min(y, 1.0), min(x, 1.0)), min(total / (height * width), 1.0)


def mask_targets(
    drawn: Sequence[Drawn], inside: Sequence[int], count: int, rng: np.random.Generator, *, union: float = 0.2
) -> list[Target]:
    """At most `count` masks to draw, of names in random order; of several things of a name up to two.

    Two dogs of one picture, each asked for by its place, teach what a name alone does not.

    Args:
        union: share of names of which everything is asked for where one of several could be.
    """
    names = list(dict.fromkeys(d.region.name for d in drawn))
    targets: list[Target] = []
    for number in rng.permutation(len(names)):
        own = [d for d in drawn if d.region.name == names[number]]
        apart = len(own) > 1 and all(d.region.single for d in own) and rng.random() >= union
        wanted = [[own[i]] for i in rng.permutation(len(own))[:2]] if apart else [own]
        targets += [_target(regions, own, drawn, inside) for regions in wanted]
    return [target for target in targets if target.area >= SMALLEST][:count]


def _target(
    wanted: Sequence[Drawn], own: Sequence[Drawn], drawn: Sequence[Drawn], inside: Sequence[int]
) -> Target:
    """The mask of some regions of a name, and that of everything else that might be taken for it."""
    mask = np.max([d.mask for d in wanted], axis=0)
    centre, area = middle_and_area(mask, inside)
    rest = [d.mask for d in drawn if d.part == own[0].part and not any(d is w for w in wanted)]
    others = np.max(rest, axis=0) * (1 - mask) if rest else np.zeros_like(mask)
    return Target(own[0].region.name, mask, others, centre, area, len(wanted) == len(own))


def cell_targets(
    photograph: Photograph,
    drawn: Sequence[Drawn],
    inside: Sequence[int],
    names: Sequence[str],
    table: NameTable,
) -> CellTargets:
    """Targets of all cells; see `CellTargets`."""
    shown = np.zeros((len(names), CELLS, CELLS), np.float32)
    column = {name: i for i, name in enumerate(names)}
    cells = [d.mask.reshape(CELLS, 4, CELLS, 4).mean((1, 3)) for d in drawn]
    for d, cell in zip(drawn, cells, strict=True):
        if d.region.name in column:
            shown[column[d.region.name]] = np.maximum(shown[column[d.region.name]], cell)
    doubt = doubts(photograph, names, table)
    weights = np.broadcast_to(doubt[:, None, None], shown.shape).copy()
    weights = np.where(shown > 0, 1.0, weights)
    presence = np.where(doubt > 0, 0.0, -1.0)
    for whole, columns in hidden_names(photograph, names, table).items():
        covering = [c for d, c in zip(drawn, cells, strict=True) if d.region.name == whole]
        on_whole = np.max(covering, axis=0) > 0 if covering else np.ones((CELLS, CELLS), bool)
        weights[columns] = np.where(on_whole, 0.0, weights[columns])
        presence[columns] = -1.0
    for name in photograph.shown() & column.keys():
        presence[column[name]] = 1.0
        if name == photograph.label and not any(d.region.name == name for d in drawn):
            weights[column[name]] = 0.0  # it is there, and nobody says where
    weights *= _inside_cells(inside)
    instances = _instance_maps(photograph, drawn, cells, inside)
    return CellTargets(shown, weights.astype(np.float32), *instances, presence=presence.astype(np.float32))


def _inside_cells(inside: Sequence[int]) -> NDArray[np.float32]:
    """`[g, g]`, 1 in cells whose middle lies in the picture."""
    middles = (np.arange(CELLS) + 0.5) * 8
    return np.outer(middles < inside[0], middles < inside[1]).astype(np.float32)


def _instance_maps(
    photograph: Photograph,
    drawn: Sequence[Drawn],
    cells: Sequence[NDArray[np.float32]],
    inside: Sequence[int],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Centres, their weights, log areas, their weights: each `[2, g, g]`."""
    centres, log_areas, area_weights = (np.zeros((2, CELLS, CELLS), np.float32) for _ in range(3))
    centre_weights = np.ones((2, CELLS, CELLS), np.float32)
    things = np.max([c for d, c in zip(drawn, cells, strict=True) if not d.part] or [centres[0]], axis=0)
    if photograph.source == "clothing":
        centre_weights[0] = things > 0.5  # more persons may stand in the street behind
    elif photograph.source == "objects":
        centre_weights[0] = np.where(things > 0, 1.0, 0.3 if drawn else 0.0)
    if not any(d.part for d in drawn):
        centre_weights[1] = things == 0
    middles = (np.arange(CELLS) + 0.5) / CELLS
    scale = SIDE / np.asarray(inside, np.float32)
    smallest = np.full((2, CELLS, CELLS), np.inf, np.float32)
    for d, cell in zip(drawn, cells, strict=True):
        group = int(d.part)
        if not d.region.single:
            centre_weights[group][cell > 0] = 0.0
            continue
        (y, x), area = middle_and_area(d.mask, inside)
        spread = float(np.clip(0.15 * np.sqrt(cell.sum()), 0.8, 4.0)) / CELLS
        rows = np.exp(-(((middles - y / scale[0]) / spread) ** 2) / 2)
        columns = np.exp(-(((middles - x / scale[1]) / spread) ** 2) / 2)
        centres[group] = np.maximum(centres[group], np.outer(rows, columns))
        # Where two overlap, the smaller one lies in front as a rule.
        own = (cell > 0.5) & (area < smallest[group])
        log_areas[group][own] = np.log(max(area, 1e-4))
        smallest[group][own], area_weights[group][own] = area, 1.0
    return centres, centre_weights * _inside_cells(inside), log_areas, area_weights
