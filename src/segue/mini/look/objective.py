"""Stage "look": the readout and the mask decoder learn from photographs, over the frozen trunk's features.

Legend: N pictures of a batch, K masks, T trained names, F folded names, g cells at stride 8.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segue.mini.look.features import StoredFeatures, features_of
from segue.mini.look.photographs import Photograph
from segue.mini.look.targets import CELLS, Target, cell_targets, drawn_regions, mask_targets
from segue.models.mini.eyes import Branch, Eyes
from segue.models.mini.find import Maps, things
from segue.models.mini.heat import heat_pair, is_part, rivals
from segue.models.mini.names import NameTable
from segue.models.mini.picture import SIDE
from segue.models.mini.point_prompt import point_prompt
from segue.models.mini.readout import Readings, cell_places

LOUDEST = 4
"""Cells of stride 8 that answer for the picture when presence is learned."""

HELD_BACK = 12
"""Of so many photographs one is kept from learning."""

FEW = 100
"""With fewer examples than this, what the trunk knows of a name is worth more than what was learned."""

MISPLACED = 0.7
"""A found place further than this multiple of the thing's side from its middle is not believed."""

DISTRACTOR = 3.0
"""How much more a pixel of another thing counts than one of the background."""


@dataclass(frozen=True)
class Shelf:
    """Photographs with their stored features, in the same order, and how often they are drawn."""

    photographs: Sequence[Photograph]
    features: StoredFeatures
    share: float


class LookObjective:
    """Batches of photographs with some masks to draw in each.

    Args:
        shelves: sources of photographs; their shares add up to 1.
        pictures, masks: of a step.
        folded_share: how often, at least, a mask's heat comes from the trunk where both sources know the
            name; names with few examples get theirs mostly from it, names never trained always.
        left_out: names of which nothing is learned: photographs that show them are not drawn.
        held_back: every so many-th photograph is not drawn either, and calibrates presence; 0 draws all.
        seed: batch i depends on (seed, i) alone.
        readout: names of the readout that learns, in its order; those of the table's first one by default.
        found_places: share of the masks that are asked for where the readout itself finds the thing, as the
            whole model will ask, if that is near; the rest at the right place, moved a little.

    Source: paper silent; ours.
    """

    trainable = ("seeing",)

    def __init__(
        self,
        shelves: Sequence[Shelf],
        table: NameTable,
        *,
        pictures: int = 8,
        masks: int = 12,
        folded_share: float = 0.4,
        left_out: Sequence[str] = (),
        held_back: int = HELD_BACK,
        seed: int = 0,
        readout: Sequence[str] | None = None,
        found_places: float = 0.0,
    ) -> None:
        self.shelves, self.table, self.seed = list(shelves), table, seed
        self.found_places = found_places
        self.pictures, self.masks, self.folded_share = pictures, masks, folded_share
        self.held_back = held_back
        self.left_out = frozenset(left_out) | {p for name in left_out for p in table.parts_of(name)}
        self.trained, self.folded = tuple(readout or table.shipped()), table.folded()
        self.rivals = {"trained": rivals(table, self.trained), "folded": rivals(table, self.folded)}
        self.examples = Counter(r.name for shelf in shelves for p in shelf.photographs for r in p.regions)
        self.draw = [self._chances(shelf.photographs) for shelf in self.shelves]

    def _folded_chance(self, name: str) -> float:
        """How often the heat of a name is the trunk's."""
        if name not in self.folded or name not in self.trained:
            return float(name in self.folded)
        return max(self.folded_share, 1 - self.examples[name] / FEW)

    def _chances(self, photographs: Sequence[Photograph]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """How often each photograph is drawn: rare names more often, several things more often."""
        counts: dict[str, int] = {}
        for photograph in photographs:
            for name in photograph.shown():
                counts[name] = counts.get(name, 0) + 1
        chances = []
        for photograph in photographs:
            shown = photograph.shown()
            rarest = min((counts[name] for name in shown), default=len(photographs))
            chance = min(3.0, math.sqrt(len(photographs) / rarest) / 3) if shown else 0.2
            chance *= 3.0 if _several(photograph) else 1.0
            chances.append(0.0 if shown & self.left_out else max(chance, 0.3))
        if self.held_back:
            chances[:: self.held_back] = [0.0] * len(chances[:: self.held_back])
        return np.asarray(chances) / sum(chances)

    def batch(self, step: int) -> dict[str, Any]:
        """Everything of a step as tensors; see `loss` for what is in it."""
        rng = np.random.default_rng([self.seed, step, 17])
        shares = np.asarray([shelf.share for shelf in self.shelves])
        picks = [int(rng.choice(len(shares), p=shares)) for _ in range(self.pictures)]
        flips = [bool(rng.random() < 0.5) for _ in picks]
        parts, cells, targets = [], [], []
        for number, pick in enumerate(picks):
            shelf = self.shelves[pick]
            row = int(rng.choice(len(shelf.photographs), p=self.draw[pick]))
            flip = flips[number] = flips[number] and self.may_mirror(shelf.photographs[row])
            inside = shelf.features.inside[row].tolist()
            parts.append(features_of(shelf.features, [row], [flip]) | {"inside": torch.tensor([inside])})
            photograph = self.seen(shelf.photographs[row], flip)
            drawn = drawn_regions(photograph, inside, self.table)
            cells.append(vars(cell_targets(photograph, drawn, inside, self.trained, self.table)))
            targets += [(number, t) for t in mask_targets(drawn, inside, 3, rng)]
        batch: dict[str, Any] = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        mirrored = torch.tensor(flips)
        for key in cells[0]:
            stacked = torch.from_numpy(np.stack([cell[key] for cell in cells]))
            batch[key] = flipped(stacked, mirrored) if stacked.ndim > 2 else stacked
        batch["places"] = mirrored_places(batch["inside"], mirrored)
        return batch | self._mask_batch(self._chosen(targets, rng), mirrored, rng)

    def _chosen(
        self, targets: list[tuple[int, Target]], rng: np.random.Generator
    ) -> list[tuple[int, Target]]:
        """At most as many masks as a step draws, rare names first as a rule."""
        wanted = [rng.random() ** (self.examples[t.name] + 1) ** 0.25 for _, t in targets]
        order = np.argsort(wanted)[::-1][: self.masks]
        return [targets[int(k)] for k in order]

    def may_mirror(self, photograph: Photograph) -> bool:
        """Whether a photograph means the same when it is mirrored."""
        return True

    def seen(self, photograph: Photograph, flipped: bool) -> Photograph:
        """What a photograph shows, mirrored or not."""
        return photograph

    def learner(self, model: Any) -> Eyes | Branch:
        """Readout and decoder that learn."""
        eyes: Eyes = model.seeing.eyes
        return eyes

    def _mask_batch(
        self, targets: list[tuple[int, Target]], mirrored: Tensor, rng: np.random.Generator
    ) -> dict[str, Any]:
        rows = torch.tensor([row for row, _ in targets], dtype=torch.long)
        masks = torch.from_numpy(np.stack([t.mask for _, t in targets]))
        others = torch.from_numpy(np.stack([t.others for _, t in targets]))
        centres = np.asarray([t.centre_yx for _, t in targets])
        centres[:, 1] = np.where(mirrored[rows].numpy(), 1 - centres[:, 1], centres[:, 1])
        areas = np.asarray([t.area for _, t in targets])
        # As findings will tell it: places to a twelfth of the picture, sizes to a factor of two.
        middles = centres
        centres = centres + rng.uniform(-0.05, 0.05, centres.shape)
        centres += 0.12 * np.sqrt(areas)[:, None] * rng.standard_normal(centres.shape)
        areas = areas * np.exp(0.4 * rng.standard_normal(areas.shape))
        known = rng.random(len(targets)) >= 0.05
        sources = []
        for _, target in targets:
            from_trunk = rng.random() < self._folded_chance(target.name)
            sources.append("folded" if from_trunk else "trained")
        return {
            "mask_rows": rows,
            "masks": flipped(masks, mirrored[rows]),
            "others": flipped(others, mirrored[rows]),
            "points": torch.from_numpy(
                np.concatenate([centres.clip(0, 1), areas[:, None].clip(0, 1)], 1)
            ).float(),
            "points_known": torch.from_numpy(known),
            "mask_names": [target.name for _, target in targets],
            "sources": sources,
            "noise": torch.from_numpy(rng.random(len(targets))).float(),
            "centres_yx": torch.from_numpy(np.asarray(middles)).float(),
            "find": torch.from_numpy(rng.random(len(targets)) < self.found_places),
        }

    def loss(self, model: Any, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """Cells, presence, centres, sizes and masks; also the mean IoU on the mask grid."""
        eyes = self.learner(model)
        readings = eyes.readout(batch["stride8"], batch["stride16"], batch["stride32"])
        terms = cell_losses(readings, batch)
        terms |= self.mask_losses(eyes, readings, batch)
        iou = float(terms.pop("iou"))
        weights = {"cells": 1.0, "presence": 0.3, "centres": 0.3, "areas": 0.3, "bce": 2.0, "dice": 1.0}
        loss = sum((weights.get(name, 0.2) * term for name, term in terms.items()), torch.zeros(()))
        return loss, {name: float(term.detach()) for name, term in terms.items()} | {"iou": iou}

    def mask_losses(
        self, eyes: Eyes | Branch, readings: Readings, batch: dict[str, Any]
    ) -> dict[str, Tensor]:
        """BCE in which distractors count more, Dice, and the error of the expected IoU."""
        rows = batch["mask_rows"]
        heat = self.heats(readings, batch)
        points = self.points(readings, batch)
        sparse = point_prompt(points[:, :2], points[:, 2], eyes.prompt_width)
        sparse = sparse * batch["points_known"][:, None]
        embeddings = eyes.decoder.image_embeddings(readings.cells, batch["colours"] / 127.5 - 1)
        logits, quality = eyes.decoder(
            readings.cells[rows], embeddings[rows], batch["places"][rows], sparse, heat
        )
        inside = (batch["places"][rows].amax(1) < 1).float()
        inside = F.interpolate(inside[:, None], size=logits.shape[-2:], mode="nearest")[:, 0]
        masks = batch["masks"]
        weights = inside * (1 + (DISTRACTOR - 1) * batch["others"])
        bce = F.binary_cross_entropy_with_logits(logits, masks, weight=weights, reduction="none")
        bce = bce.sum((1, 2)) / weights.sum((1, 2))
        probs = logits.sigmoid() * inside
        both = (probs * masks).sum((1, 2))
        dice = 1 - (2 * both + 40) / (probs.sum((1, 2)) + masks.sum((1, 2)) + 40)
        with torch.no_grad():
            found, wanted = (logits > 0) & (inside > 0), masks > 0.5
            iou = (found & wanted).sum((1, 2)) / (found | wanted).sum((1, 2)).clamp(min=1)
        return {
            "bce": bce.mean(),
            "dice": dice.mean(),
            "quality": F.mse_loss(quality, iou),
            "iou": iou.mean(),
        }

    @torch.no_grad()
    def points(self, readings: Readings, batch: dict[str, Any]) -> Tensor:
        """`[K, 3]` height, side and area of the masks' points: as drawn, or as the readout finds them."""
        points = batch["points"].clone()
        trained, middles = readings.names.sigmoid(), readings.centres.sigmoid()
        for k in torch.nonzero(batch["find"])[:, 0].tolist():
            row, name = int(batch["mask_rows"][k]), batch["mask_names"][k]
            if name not in self.trained:
                continue
            heat = trained[row, self.trained.index(name)][None]
            maps = Maps(
                heat / heat.amax().clamp(min=1e-4),
                heat.new_ones(1),
                middles[row],
                readings.log_areas[row],
                batch["places"][row],
            )
            wanted = batch["centres_yx"][k]
            spots = [
                (*centre, area) for _, centre, area in things(maps, 0, int(is_part(self.table.names[name])))
            ]
            if spots:
                near = torch.tensor(spots)
                distance = (near[:, :2] - wanted).square().sum(1)
                best = int(distance.argmin())
                # Further off the readout means something else, and the mask would be wrong for that point.
                if distance[best] < MISPLACED**2 * max(float(near[best, 2]), 0.01):
                    points[k] = near[best]
        return points

    def heats(self, readings: Readings, batch: dict[str, Any]) -> Tensor:
        """`[K, 2, g, g]` of the masks' names, from the source that each drew."""
        trained = readings.names.detach().sigmoid()
        size = (CELLS, CELLS)
        folded = F.interpolate(batch["folded"], size=size, mode="bilinear")
        pairs = []
        for row, name, source, noise in zip(
            batch["mask_rows"].tolist(), batch["mask_names"], batch["sources"], batch["noise"], strict=True
        ):
            maps, names = (trained, self.trained) if source == "trained" else (folded, self.folded)
            column = names.index(name)
            pair = heat_pair(maps[row], column, self.rivals[source][column])
            if noise < 0.1:
                pair = torch.stack([pair[0], torch.zeros_like(pair[1])])  # names without rivals
            elif noise < 0.3:
                pair = F.avg_pool2d(pair[None], 5, 1, 2)[0]  # as coarse as the trunk's
            pairs.append(pair)
        return torch.stack(pairs)


def _several(photograph: Photograph) -> bool:
    """Whether one of several things of a name can be asked for."""
    single = [r.name for r in photograph.regions if r.single]
    return len(single) > len(set(single))


def cell_losses(readings: Readings, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Names of cells, presence in the picture, centres and sizes."""
    weights = batch["name_weights"]
    cells = F.binary_cross_entropy_with_logits(
        readings.names, batch["names"], weight=weights, reduction="none"
    )
    inside = (batch["places"].amax(1) < 1).float().sum((1, 2))
    cells = (cells.sum((2, 3)) / inside[:, None]).sum(1).mean()
    loud = readings.names.flatten(2).topk(LOUDEST, dim=2).values.mean(2)
    known = batch["presence"] >= 0
    presence = F.binary_cross_entropy_with_logits(loud[known], batch["presence"][known])
    centres = centre_loss(readings.centres, batch["centres"], batch["centre_weights"])
    error = F.smooth_l1_loss(readings.log_areas, batch["log_areas"], reduction="none")
    areas = (error * batch["area_weights"]).sum() / batch["area_weights"].sum().clamp(min=1)
    return {"cells": cells, "presence": presence, "centres": centres, "areas": areas}


def centre_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Focal loss on peaks, divided by their number; cells near a peak are forgiven.

    Source: Zhou et al. 2019, equation 1 (alpha 2, beta 4).
    """
    probs = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
    peaks = (targets > 0.95).float()
    hit = peaks * (1 - probs) ** 2 * probs.log()
    miss = (1 - peaks) * (1 - targets) ** 4 * probs**2 * (1 - probs).log()
    return -((hit + miss) * weights).sum() / (peaks * weights).sum().clamp(min=1)


def flipped(maps: Tensor, mirrored: Tensor) -> Tensor:
    """`[N, .., w]` with the rows that are `mirrored` `[N]` turned left to right."""
    shape = (-1, *[1] * (maps.ndim - 1))
    return torch.where(mirrored.reshape(shape), maps.flip(-1), maps)


def mirrored_places(inside: Tensor, mirrored: Tensor) -> Tensor:
    """`cell_places` of pictures some of which are mirrored, so that they stand at the right of the square."""
    places = cell_places(inside, CELLS, SIDE)
    turned = places.flip(-1)
    # Beside a mirrored picture the place would turn negative; it must stay recognisable as outside.
    turned = torch.stack([turned[:, 0], torch.where(turned[:, 1] < 1, 1 - turned[:, 1], turned[:, 1])], 1)
    return torch.where(mirrored[:, None, None, None], turned, places)
