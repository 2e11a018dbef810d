"""Referring and reasoning segmentation: one expression, one region, whatever the answer calls it.

All masks of an answer are united, and so are all of the record; the phrase does not count. The names follow
LISA and gRefCOCO: gIoU is a mean over expressions (not "generalised IoU"), cIoU is cumulative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pycocotools import mask as coco_mask

from segue.masks import RLE
from segue.metrics.matching import GroundedMask, union_by_image
from segue.metrics.tally import Tally

PRECISION_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""P@X counts X itself, as refCOCO's usual scripts do."""


@dataclass(frozen=True)
class RegionCounts:
    """Pixels of a predicted region and of a true one.

    Attributes:
        intersection, predicted, target: Pixels; of a failed answer `predicted` is 0.
    """

    intersection: int
    predicted: int
    target: int

    @property
    def union(self) -> int:
        """Pixels of either."""
        return self.predicted + self.target - self.intersection

    @property
    def iou(self) -> float:
        """Intersection over union; 1 where both are empty, 0 where one is."""
        return self.intersection / self.union if self.union else 1.0


def count_regions(
    predicted: Sequence[GroundedMask],
    targets: Sequence[GroundedMask],
    ignore: dict[int, RLE] | None = None,
) -> RegionCounts:
    """Pixels of the united masks of an answer against those of the record, summed over the images.

    Args:
        predicted: All masks of the answer; what lies in a wrong image counts as predicted there.
        targets: All masks of the record.
        ignore: By image, an area that counts neither way.
    """
    # United first: a pixel under two masks of an answer is predicted once.
    drawn, wanted = union_by_image(predicted, ignore), union_by_image(targets, ignore)
    common = 0
    for image in drawn.keys() & wanted.keys():
        common += int(coco_mask.area(coco_mask.merge([drawn[image], wanted[image]], intersect=True)))
    sizes = [sum(int(coco_mask.area(rle)) for rle in side.values()) for side in (drawn, wanted)]
    return RegionCounts(common, *sizes)


def referring_tallies(counts: RegionCounts) -> dict[str, Tally]:
    """One expression's contributions.

    - `mean_iou` (gIoU): IoU, over expressions; an absent target that nothing was drawn for counts 1.
    - `cumulative_iou` (cIoU): intersections over unions, summed: large regions weigh more, and what is drawn
      for an absent target is in the sum below.
    - `precision_at_50` .. `precision_at_90` (P@X): share of expressions with IoU >= X. Of expressions that
      have a target.
    - `no_target_accuracy` (N-acc.) and `target_accuracy` (T-acc.): share of expressions without a target for
      which nothing was drawn; share of those with one for which something was.

    Source: LISA's code (gIoU, cIoU); refCOCO's scripts (P@X); gRefCOCO (N-acc., T-acc.).
    """
    found = {
        "mean_iou": Tally(counts.iou, 1),
        "cumulative_iou": Tally(counts.intersection, counts.union),
    }
    if counts.target:
        for threshold in PRECISION_THRESHOLDS:
            # 0.9 is a hair above nine tenths in binary; IoUs are ratios of whole numbers, so no real one lies
            # between.
            hit = counts.iou >= threshold - 1e-12
            found[f"precision_at_{round(100 * threshold)}"] = Tally(float(hit), 1)
        found["target_accuracy"] = Tally(float(counts.predicted > 0), 1)
    else:
        found["no_target_accuracy"] = Tally(float(counts.predicted == 0), 1)
    return found


def prist_tallies(counts: RegionCounts) -> dict[str, Tally]:
    """One dialogue's contributions to PRIST's pixel scores.

    - `mean_iou`: what PRIST's code calls CIoU; `cumulative_iou` is what the name says.
    - `pixel_precision`, `pixel_recall`: over all pixels (micro), `.._macro`: means over dialogues. F1 is the
      harmonic mean of the two totals, as the paper's table has it: see `harmonic_mean`.

    A dialogue without `[SEG]` is an empty prediction and counts 0, where PRIST's code leaves it out.

    Source: MIRAS's tables and code; the conventions for empty predictions are ours.
    """
    predicted, target = counts.predicted, counts.target
    both_empty = float(predicted == target == 0)
    return {
        "mean_iou": Tally(counts.iou, 1),
        "cumulative_iou": Tally(counts.intersection, counts.union),
        "pixel_precision": Tally(counts.intersection, predicted),
        "pixel_recall": Tally(counts.intersection, target),
        "pixel_precision_macro": Tally(counts.intersection / predicted if predicted else both_empty, 1),
        "pixel_recall_macro": Tally(counts.intersection / target if target else both_empty, 1),
    }


def harmonic_mean(precision: float | None, recall: float | None) -> float | None:
    """F1 of two totals; 0 when both are 0, None when one is unknown."""
    if precision is None or recall is None:
        return None
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
