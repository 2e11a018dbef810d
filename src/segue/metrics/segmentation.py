"""Mask metrics: overlap of two masks, and the means over many pairs.

Empty-set rules, once for all: two empty masks agree (IoU 1); an empty and a non-empty mask do not (IoU 0); a
mean over no masks is undefined and returned as None, never as 0 or 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segue.errors import InputError


def overlap(predicted: np.ndarray, truth: np.ndarray, ignore: np.ndarray | None = None) -> tuple[int, int]:
    """Count the pixels of the intersection and of the union.

    Args:
        predicted: bool `[height, width]`.
        truth: bool `[height, width]`.
        ignore: bool `[height, width]`; pixels that count neither way.

    Returns:
        `(intersection, union)` in pixels; (0, 0) for two empty masks.

    Raises:
        InputError: The sizes differ.
    """
    if predicted.shape != truth.shape or (ignore is not None and ignore.shape != truth.shape):
        raise InputError(
            "Two masks of different size cannot be compared.",
            expected=f"(height, width) = {truth.shape}",
            found=str(predicted.shape if ignore is None else (predicted.shape, ignore.shape)),
            where="segue.metrics.segmentation.overlap",
            fix="bring both masks to the size of the original image",
        )
    a, b = predicted.astype(bool), truth.astype(bool)
    if ignore is not None:
        counted = ~ignore.astype(bool)
        a, b = a & counted, b & counted
    return int(np.count_nonzero(a & b)), int(np.count_nonzero(a | b))


def iou(predicted: np.ndarray, truth: np.ndarray, ignore: np.ndarray | None = None) -> float:
    """Intersection over union of two masks, in 0..1; two empty masks give 1.0.

    Args:
        predicted: bool `[height, width]`.
        truth: bool `[height, width]`.
        ignore: bool `[height, width]`; pixels that count neither way.
    """
    intersection, union = overlap(predicted, truth, ignore)
    return intersection / union if union else 1.0


def mean_iou(ious: Sequence[float]) -> float | None:
    """Mean of per-mask IoUs (gIoU); None for no masks.

    Args:
        ious: One value per ground-truth mask, 0.0 for a mask that nothing was matched with.
    """
    return float(np.mean(ious)) if len(ious) else None


def cumulative_iou(overlaps: Sequence[tuple[int, int]]) -> float | None:
    """Summed intersections over summed unions (cIoU): large masks weigh more; None for no masks.

    Args:
        overlaps: `(intersection, union)` per ground-truth mask; `(0, area)` for an unmatched one.

    Returns:
        The ratio; 1.0 when there are masks and all of them are empty on both sides.
    """
    if not len(overlaps):
        return None
    union = sum(pair[1] for pair in overlaps)
    return sum(pair[0] for pair in overlaps) / union if union else 1.0


def recall_at(ious: Sequence[float], threshold: float = 0.5, *, inclusive: bool = False) -> float | None:
    """Share of ground-truth masks found with more than this IoU; None for no masks.

    `recall_at([0.5, 0.6])` is 0.5, `recall_at([0.5, 0.6], inclusive=True)` is 1.0. Every threshold of an IoU
    is compared here, so that it is compared in one way.

    Args:
        ious: One value per ground-truth mask, 0.0 for a mask that nothing was matched with.
        threshold: In 0..1.
        inclusive: Let the threshold itself count: with it this is P@X of referring segmentation.

    Source: PRIMA appendix B, "IoU values higher than a threshold of 0.5" (exclusive). The released evaluation
        of GLaMM and the usual scripts of refCOCO's P@X compare inclusively.
    """
    hits = [value >= threshold if inclusive else value > threshold for value in ious]
    return float(np.mean(hits)) if hits else None
