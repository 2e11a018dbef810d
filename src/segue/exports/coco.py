"""COCO's two files: instances, as data sets are annotated, and results, as predictions are scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from segue import masks
from segue.exports.content import PicturedMasks, categories
from segue.files import write_atomic

# COCO's tools take a category or annotation of id 0 for none at all.
_FIRST = 1


def coco_instances(images: list[PicturedMasks]) -> dict[str, Any]:
    """The content of an instances file: masks as RLE, `iscrowd` 0, and the score as a further field.

    Empty masks are left out: COCO's tools cannot score what has no area.
    """
    numbers = categories(images)
    annotations = [
        {**_result(k, numbers[placed.phrase], placed.rle), "id": 0, "iscrowd": 0, "score": placed.score}
        for k, image in enumerate(images, start=_FIRST)
        for placed in image.masks
        if masks.area(placed.rle)
    ]
    for number, annotation in enumerate(annotations, start=_FIRST):
        annotation["id"] = number
    return {
        "images": [
            {"id": k, "file_name": image.path, "height": image.hw[0], "width": image.hw[1]}
            for k, image in enumerate(images, start=_FIRST)
        ],
        "categories": [{"id": n + _FIRST, "name": phrase} for phrase, n in numbers.items()],
        "annotations": annotations,
    }


def coco_results(images: list[PicturedMasks]) -> list[dict[str, Any]]:
    """The content of a results file: ids are those of `coco_instances`; a mask without a score gets 1."""
    numbers = categories(images)
    return [
        {
            **_result(k, numbers[placed.phrase], placed.rle),
            "score": 1.0 if placed.score is None else placed.score,
        }
        for k, image in enumerate(images, start=_FIRST)
        for placed in image.masks
        if masks.area(placed.rle)
    ]


def _result(image_id: int, number: int, rle: masks.RLE) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "category_id": number + _FIRST,
        "segmentation": rle,
        "bbox": masks.box(rle),
        "area": masks.area(rle),
    }


def write_coco(images: list[PicturedMasks], folder: Path) -> tuple[list[Path], list[str]]:
    """`instances.json`; returns the file, and what COCO could not hold."""
    path = write_atomic(folder / "instances.json", json.dumps(coco_instances(images), ensure_ascii=False))
    return [path], ["the text of the answer", *empty_ones(images)]


def write_coco_results(images: list[PicturedMasks], folder: Path) -> tuple[list[Path], list[str]]:
    """`results.json`, and beside it `instances.json`, which says what its ids mean."""
    written, lost = write_coco(images, folder)
    results = json.dumps(coco_results(images), ensure_ascii=False)
    return [write_atomic(folder / "results.json", results), *written], lost


def empty_ones(images: list[PicturedMasks]) -> list[str]:
    """A line about the empty masks, which most formats cannot hold."""
    count = sum(not masks.area(placed.rle) for image in images for placed in image.masks)
    return [f"{count} empty {'mask' if count == 1 else 'masks'}"] if count else []
