"""Predicted masks against true ones: IoUs of all pairs within each image, and who belongs to whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from segue import masks
from segue.errors import InputError
from segue.masks import RLE

Matrix = NDArray[np.float64]
Pairs = list[tuple[int, int]]
"""(prediction, target), ordered by target."""


@dataclass(frozen=True)
class GroundedMask:
    """A phrase with its mask in one image, predicted or true.

    Attributes:
        image_index: 0-based; -1 where a prediction names no image that exists.
        phrase: As it stands in the text; empty where the text has none (`[SEG]` alone).
        rle: The mask at the photograph's own size; None where nothing was drawn, which counts as empty.
    """

    image_index: int
    phrase: str
    rle: RLE | None


def iou_matrix(
    predicted: Sequence[GroundedMask],
    targets: Sequence[GroundedMask],
    ignore: dict[int, RLE] | None = None,
) -> Matrix:
    """IoU of every pair, `[P, T]`; 0 across images. Two empty masks of one image agree (1).

    Args:
        predicted: P masks.
        targets: T masks.
        ignore: By image, an area that counts neither way.

    Raises:
        InputError: Masks of one image have different sizes.
    """
    found = np.zeros((len(predicted), len(targets)))
    for image in {target.image_index for target in targets}:
        rows = [i for i, mark in enumerate(predicted) if mark.image_index == image]
        columns = [j for j, mark in enumerate(targets) if mark.image_index == image]
        if not rows:
            continue
        hw = _common_size([predicted[i] for i in rows] + [targets[j] for j in columns])
        area = (ignore or {}).get(image)
        left = [_counted(predicted[i].rle, hw, area) for i in rows]
        right = [_counted(targets[j].rle, hw, area) for j in columns]
        # pycocotools' own iscrowd would divide by the prediction's area alone; 0 everywhere is plain IoU.
        values = np.asarray(coco_mask.iou(left, right, [0] * len(right)), dtype=float)
        empty = np.outer(coco_mask.area(left) == 0, coco_mask.area(right) == 0)
        # pycocotools divides 0 by 0 for two empty masks; here they agree.
        found[np.ix_(rows, columns)] = np.where(empty, 1.0, np.nan_to_num(values))
    return found


def areas(marks: Sequence[GroundedMask], ignore: dict[int, RLE] | None = None) -> list[int]:
    """Pixels of each mask, those that are ignored left out; 0 where nothing was drawn."""
    found = []
    for mark in marks:
        area = (ignore or {}).get(mark.image_index)
        if mark.rle is None:
            found.append(0)
        else:
            # The size is for a mask that is missing, which this one is not.
            found.append(int(coco_mask.area(_counted(mark.rle, (0, 0), area))))
    return found


def union_by_image(marks: Sequence[GroundedMask], ignore: dict[int, RLE] | None = None) -> dict[int, RLE]:
    """The union of all masks of each image, without what is ignored; images without a mask are absent."""
    by_image: dict[int, list[RLE]] = {}
    for mark in marks:
        if mark.rle is not None:
            by_image.setdefault(mark.image_index, []).append(mark.rle)
    merged = {image: masks.union_rle(rles) for image, rles in by_image.items()}
    return {
        image: rle if (area := (ignore or {}).get(image)) is None
        else masks.encode(masks.decode(rle) & ~masks.decode(area))
        for image, rle in merged.items()
    }  # fmt: skip


def best_assignment(values: Matrix, *, ties: Matrix | None = None) -> Pairs:
    """One-to-one pairs of positive value with the largest sum.

    Args:
        values: `[P, T]`; pairs of value 0 or less are never taken.
        ties: `[P, T]` in 0..1 that decides between assignments of the same sum, so that the order in which
            masks come decides nothing.

    Source: Hungarian assignment (scipy); the papers do not say how masks are paired; ours.
    """
    if not values.size:
        return []
    # Small enough never to outweigh a real difference between IoUs of masks of fewer than 10^7 pixels.
    weights = values if ties is None else values + 1e-8 * ties
    # The solver pairs as many as it can, also at 0: such pairs are taken out again below.
    rows, columns = linear_sum_assignment(np.where(values > 0, weights, 0.0), maximize=True)
    pairs = [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if values[i, j] > 0]
    return sorted(pairs, key=lambda pair: pair[1])


def greedy_assignment(values: Matrix) -> Pairs:
    """One-to-one pairs of values `[P, T]`, the largest first, until it is 0; in the order of finding.

    Source: GLaMM's code (mask IoU of grounded captions).
    """
    left = values.copy()
    pairs: Pairs = []
    while left.size and left.max() > 0:
        i, j = np.unravel_index(int(left.argmax()), left.shape)
        pairs.append((int(i), int(j)))
        left[i, :], left[:, j] = 0, 0
    return pairs


def _common_size(marks: Sequence[GroundedMask]) -> tuple[int, int]:
    sizes = {(mark.rle["size"][0], mark.rle["size"][1]) for mark in marks if mark.rle is not None}
    if len(sizes) > 1:
        raise InputError(
            "Masks of one image have different sizes.",
            expected="(height, width) of the photograph in every mask",
            found=", ".join(map(str, sorted(sizes))),
            where=f"image {marks[0].image_index + 1}",
            fix="bring all masks to the size of the original image",
        )
    # Nothing was drawn and nothing was there: any size will do.
    return sizes.pop() if sizes else (1, 1)


def _counted(rle: RLE | None, hw: tuple[int, int], ignore: RLE | None) -> dict[str, object]:
    """A mask as pycocotools wants it, without the ignored area."""
    if rle is None:
        rle = masks.encode(np.zeros(hw, bool))
    elif ignore is not None:
        rle = masks.encode(masks.decode(rle) & ~masks.decode(ignore))
    counts = rle["counts"]
    return {"size": list(rle["size"]), "counts": counts.encode() if isinstance(counts, str) else counts}
