"""How well the seeing half sees, told the name first: masks, presence, one of several things of a name.

What a language model in between would lose is not in these figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from segue.mini.look.features import StoredFeatures, features_of
from segue.mini.look.photographs import Photograph
from segue.mini.look.targets import CELLS, MASK_CELLS, SMALLEST, Drawn, drawn_regions, middle_and_area
from segue.models.mini.eyes import Eyes, Sight
from segue.models.mini.find import group_of, things
from segue.models.mini.heat import is_part
from segue.models.mini.picture import SIDE
from segue.models.mini.point_prompt import point_prompt
from segue.models.mini.readout import cell_places

Flags = NDArray[np.bool_]


@dataclass
class Figures:
    """What `measure` found, as lists to take means of."""

    told: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    told_point: list[float] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)
    neighbour: list[float] = field(default_factory=list)
    one_of_several: list[float] = field(default_factory=list)
    others_of_it: list[float] = field(default_factory=list)
    counted_right: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """Means over targets; `told` by name is in `by_name`."""
        every = [value for values in self.told.values() for value in values]
        means = {
            "mean_iou": every,
            "mean_iou_given_place": self.told_point,
            "asked": self.asked,
            "neighbour": self.neighbour,
            "one_of_several": self.one_of_several,
            "others_of_it": self.others_of_it,
            "counted_right": self.counted_right,
        }
        return {name: float(np.mean(values)) if values else float("nan") for name, values in means.items()}

    def by_name(self) -> dict[str, tuple[float, int]]:
        """Mean IoU and number of targets of each name."""
        return {n: (float(np.mean(v)), len(v)) for n, v in sorted(self.told.items())}


class Looker:
    """Looks at stored photographs one by one.

    Args:
        eyes: in eval mode.
        photographs, features: in the same order.
    """

    def __init__(self, eyes: Eyes, photographs: Sequence[Photograph], features: StoredFeatures) -> None:
        self.eyes, self.photographs, self.features = eyes.eval(), photographs, features

    @torch.inference_mode()
    def see(self, row: int) -> tuple[Sight, dict[str, Tensor]]:
        """Sight of one photograph, and the batch of its features."""
        batch: dict[str, Tensor] = features_of(self.features, [row], [False])
        readings = self.eyes.read(batch["stride8"], batch["stride16"], batch["stride32"])
        inside = torch.from_numpy(np.asarray(self.features.inside[row : row + 1]))
        return self.eyes.judge(readings, batch["folded"], cell_places(inside, CELLS, SIDE)), batch

    @torch.inference_mode()
    def draw(
        self, sight: Sight, batch: dict[str, Tensor], wanted: Sequence[tuple[str, tuple[float, float], float]]
    ) -> Flags:
        """Masks `[K, m, m]` of (name, centre, area) in the one picture that was seen."""
        heat = torch.stack([self.eyes.heat_prompt(name, sight, 0) for name, _, _ in wanted])
        centres = torch.tensor([centre for _, centre, _ in wanted], dtype=torch.float32)
        areas = torch.tensor([area for _, _, area in wanted], dtype=torch.float32)
        cells = sight.readings.cells
        embeddings = self.eyes.image_embeddings(cells, batch["colours"] / 127.5 - 1)
        count = len(wanted)
        logits = self.eyes.draw(
            cells.expand(count, -1, -1, -1),
            embeddings.expand(count, -1, -1, -1),
            sight.places.expand(count, -1, -1, -1),
            point_prompt(centres, areas, self.eyes.prompt_width),
            heat,
            [self.eyes.table.drawn_by(name) for name, _, _ in wanted],
        )
        inside = F.interpolate((sight.places.amax(1, keepdim=True) < 1).float(), size=(MASK_CELLS,) * 2)
        flags: Flags = ((logits > 0) & (inside[:, 0] > 0)).numpy()
        return flags


def measure(looker: Looker, rows: Sequence[int] | None = None) -> Figures:
    """Masks of all that a set of photographs shows, each name told; see `Figures`."""
    figures = Figures()
    table = looker.eyes.table
    for row in rows if rows is not None else range(len(looker.photographs)):
        photograph = looker.photographs[row]
        inside = looker.features.inside[row].tolist()
        drawn = [
            d
            for d in drawn_regions(photograph, inside, table)
            if middle_and_area(d.mask, inside)[1] >= SMALLEST
        ]
        if drawn:
            _measure_one(looker, row, drawn, inside, figures)
    return figures


def _measure_one(
    looker: Looker, row: int, drawn: Sequence[Drawn], inside: Sequence[int], figures: Figures
) -> None:
    sight, batch = looker.see(row)
    maps = looker.eyes.maps(sight, 0)
    names = list(looker.eyes.table.names)
    truth: dict[str, list[Flags]] = defaultdict(list)
    for d in drawn:
        truth[d.region.name].append(d.mask > 0.5)
    single = {name: all(d.region.single for d in drawn if d.region.name == name) for name in truth}
    for name, masks in truth.items():
        part = is_part(looker.eyes.table.names[name])
        found = things(maps, names.index(name), group_of(name, looker.eyes.table))
        wanted = [(name, centre, area) for _, centre, area in found]
        whole = np.any(masks, axis=0)
        centre, area = middle_and_area(whole.astype(np.float32), inside)
        flags = looker.draw(sight, batch, [*wanted, (name, centre, area)])
        union = np.any(flags[:-1], axis=0) if wanted else np.zeros_like(whole)
        figures.told[name].append(_iou(union, whole))
        figures.told_point.append(_iou(flags[-1], whole))
        rest = [
            np.any(m, axis=0)
            for other, m in truth.items()
            if other != name and is_part(looker.eyes.table.names[other]) == part
        ]
        if rest:
            figures.asked.append(_iou(union, whole))
            figures.neighbour.append(max(_iou(union, mask & ~whole) for mask in rest))
        if single[name]:
            figures.counted_right.append(float(len(wanted) == len(masks)))
        if single[name] and len(masks) > 1:
            _measure_several(masks, wanted, flags, inside, figures)


def _measure_several(
    masks: Sequence[Flags], wanted: Sequence[Any], flags: Flags, inside: Sequence[int], figures: Figures
) -> None:
    """Each of several things of a name: the mask of the finding that lies nearest to it."""
    for number, mask in enumerate(masks):
        (y, x), _ = middle_and_area(mask.astype(np.float32), inside)
        distance = [(y - b) ** 2 + (x - a) ** 2 for _, (b, a), _ in wanted]
        drawn = flags[int(np.argmin(distance))] if distance else np.zeros_like(mask)
        others = [_iou(drawn, m & ~mask) for k, m in enumerate(masks) if k != number]
        figures.one_of_several.append(_iou(drawn, mask))
        figures.others_of_it.append(max(others))


def _iou(found: Flags, wanted: Flags) -> float:
    union = (found | wanted).sum()
    return float((found & wanted).sum() / union) if union else 0.0


def auc(scores: NDArray[np.float64], there: Flags) -> float:
    """How often a photograph that shows a name scores above one that does not; ties count half."""
    order = scores.argsort(kind="stable")
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(1, len(scores) + 1)
    for value in np.unique(scores):
        tied = scores == value
        ranks[tied] = ranks[tied].mean()
    positive = int(there.sum())
    negative = len(there) - positive
    if not positive or not negative:
        return float("nan")
    return float((ranks[there].sum() - positive * (positive + 1) / 2) / (positive * negative))
