"""Average precision of masks without scores, as the grounded-caption benchmark has it, by COCO's code."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segue.masks import RLE

Image = tuple[Sequence[RLE], Sequence[RLE]]
"""Predicted and true masks of one image."""


def average_precision(images: Sequence[Image]) -> dict[str, float | None]:
    """AP over IoUs from 0.5 to 0.95, and AP50, of all images together; None where no image has a target.

    One category, every score 1.0, at most 100 masks an image. With equal scores the ranking, and with it AP,
    depends on the order of images and masks; here they are sorted by their content first, so that the order
    in which they come decides nothing.

    Args:
        images: Predicted and true masks, RLE of the image's size.

    Returns:
        `ap` and `ap50` in 0..1.

    Source: GLaMM's evaluation (eval/gcg), which runs COCO's with scores of 1.0; the sorting is ours.
    """
    sides = [tuple(sorted(side, key=lambda rle: str(rle["counts"])) for side in image) for image in images]
    ordered = sorted(sides, key=lambda image: [[str(rle["counts"]) for rle in side] for side in image[::-1]])
    truth, found = (_annotations([image[side] for image in ordered]) for side in (1, 0))
    if not truth:
        return {"ap": None, "ap50": None}
    if not found:
        return {"ap": 0.0, "ap50": 0.0}
    # The library reports to stdout.
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [_image(k + 1, image) for k, image in enumerate(ordered)],
            "categories": [{"id": 1}],
            "annotations": truth,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes([note | {"score": 1.0} for note in found]), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {"ap": float(evaluation.stats[0]), "ap50": float(evaluation.stats[1])}


def _image(number: int, sides: Sequence[Sequence[RLE]]) -> dict[str, int]:
    height, width = next((rle["size"] for side in sides for rle in side), [1, 1])
    return {"id": number, "height": height, "width": width}


def _annotations(images: Sequence[Sequence[RLE]]) -> list[dict[str, Any]]:
    notes: list[dict[str, Any]] = []
    for number, rles in enumerate(images, start=1):
        for rle in rles:
            notes.append(
                {
                    # From 1: COCOeval notes a match by the id of the target and takes 0 for none.
                    "id": len(notes) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "segmentation": {"size": rle["size"], "counts": rle["counts"]},
                    "area": int(coco_mask.area(rle)),
                }
            )
    return notes
