"""Masks for two libraries: `supervision` (detections) and Hugging Face `datasets` (a row for each mask)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from segue import masks
from segue.errors import InputError
from segue.exports.content import PicturedMasks, categories
from segue.files import atomic_path


def to_supervision(images: list[PicturedMasks], image_index: int) -> Any:
    """`supervision.Detections` of one image: masks, boxes, scores, classes, phrases in `data["class_name"]`.

    Args:
        images: of `masks_of`.
        image_index: 0-based.

    Raises:
        InputError: supervision is not installed.
    """
    detections = _library("supervision", "export", "Detections")
    image, numbers = images[image_index], categories(images)
    if not image.masks:
        return detections.empty()
    boxes = np.asarray([masks.box(placed.rle) for placed in image.masks], float)
    return detections(
        # (x, y, width, height) to two corners.
        xyxy=np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1),
        mask=np.stack([placed.mask for placed in image.masks]),
        confidence=np.asarray([1.0 if p.score is None else p.score for p in image.masks], np.float32),
        class_id=np.asarray([numbers[placed.phrase] for placed in image.masks]),
        data={"class_name": np.asarray([placed.phrase for placed in image.masks])},
    )


def to_datasets(images: list[PicturedMasks]) -> Any:
    """A Hugging Face `datasets.Dataset` with the rows of `mask_rows`.

    Raises:
        InputError: datasets is not installed.
    """
    return _library("datasets", "data", "Dataset").from_dict(mask_rows(images))


def mask_rows(images: list[PicturedMasks]) -> dict[str, list[Any]]:
    """Columns with a row for each mask: image, path, size, phrase, score, box, area and RLE."""
    rows: dict[str, list[Any]] = {
        name: [] for name in ("image", "path", "height", "width", "phrase", "score", "bbox", "area", "counts")
    }
    for k, image in enumerate(images):
        for placed in image.masks:
            values = (
                k, image.path, *image.hw, placed.phrase, placed.score, masks.box(placed.rle),
                masks.area(placed.rle), placed.rle["counts"],
            )  # fmt: skip
            for name, value in zip(rows, values, strict=True):
                rows[name].append(value)
    return rows


def write_datasets(images: list[PicturedMasks], folder: Path) -> tuple[list[Path], list[str]]:
    """`masks.parquet`, which `datasets.load_dataset("parquet", ...)` opens."""
    table = _library("pyarrow", "data", "table")(mask_rows(images))
    path = folder / "masks.parquet"
    with atomic_path(path) as unfinished:
        _library("pyarrow.parquet", "data", "write_table")(table, unfinished)
    lost = ["the text of the answer"]
    bare = sum(not image.masks for image in images)
    return [path], lost + ([f"{bare} images without a mask"] if bare else [])


def _library(name: str, extra: str, part: str) -> Any:
    """A part of a library that an extra brings."""
    from importlib import import_module

    try:
        # The part too: a folder of the caller's that has the library's name is imported without an error.
        return getattr(import_module(name), part)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"This needs the library {name.split('.')[0]}.",
            expected=f"the extra `{extra}` of segue",
            found=str(error),
            where=f"import {name}",
            fix=f'pip install -c constraints.txt "segue[{extra}]"',
        ) from None
