"""The trivial baseline of segmentation: for each phrase, the mean of its masks in other images."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segue import masks
from segue.errors import InputError
from segue.evaluation.samples import questions_of, targets_of
from segue.masks import Mask
from segue.metrics import recall_at
from segue.records import Conversation, read_jsonl

GRID = 128
"""Side of the square on which masks of images of all sizes are averaged."""


Named = tuple[str, Mask]
"""A phrase with its mask."""


def all_targets(conversations: Iterable[Conversation]) -> list[Named]:
    """Every mask that the records' answers name."""
    return [
        (target.mark.phrase, masks.decode(target.mark.rle))
        for conversation in conversations
        for index, _ in questions_of(conversation)
        for target in targets_of(conversation, index)
        if target.mark.rle is not None
    ]


def mean_masks(targets: Iterable[Named]) -> dict[str, np.ndarray]:
    """Phrase to the mean of its masks, `[GRID, GRID]` in 0..1."""
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = defaultdict(int)
    for phrase, mask in targets:
        square = Image.fromarray(mask.astype(np.uint8) * 255).resize((GRID, GRID), Image.Resampling.BOX)
        share = np.asarray(square, np.float64) / 255
        sums[phrase] = sums.get(phrase, 0.0) + share
        counts[phrase] += 1
    return {phrase: total / counts[phrase] for phrase, total in sums.items()}


def drawn(mean: np.ndarray, hw: tuple[int, int]) -> Mask:
    """The mean as a mask of an image: where it is at least half of its highest value."""
    grown = Image.fromarray((mean * 255).astype(np.uint8)).resize(hw[::-1], Image.Resampling.BILINEAR)
    values = np.asarray(grown)
    return values >= max(1, values.max() / 2)


def mean_mask_score(train: Iterable[Conversation], test: Iterable[Conversation]) -> dict[str, Any]:
    """Mean IoU and recall of the baseline, which is given every phrase and its image.

    Args:
        train: their masks are averaged.
        test: are scored; a phrase without a mean scores 0.

    Raises:
        InputError: nothing to score.

    Source: ours.
    """
    means, targets = mean_masks(all_targets(train)), all_targets(test)
    if not targets:
        raise InputError(
            "no masks to score",
            expected="answers with grounded phrases",
            found="none",
            where="mean_mask_score",
            fix="give records whose answers name regions",
        )
    ious = []
    for phrase, mask in targets:
        hw = (mask.shape[0], mask.shape[1])
        ious.append(masks.iou(drawn(means[phrase], hw), mask) if phrase in means else 0.0)
    return {
        "mean_iou": float(np.mean(ious)),
        "recall_at_50": recall_at(ious),
        "masks": len(ious),
        "phrases_known": len(means),
    }


def main() -> None:
    """`python -m segue.evaluation.mean_mask --train TRAIN.jsonl --data TEST.jsonl`."""
    parser = argparse.ArgumentParser(description=mean_mask_score.__doc__)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    print(json.dumps(mean_mask_score(read_jsonl(arguments.train), read_jsonl(arguments.data))))


if __name__ == "__main__":
    main()
