"""Masks in a cell of a table, in whatever form: run lengths, polygons, records, JSON of any of these."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MASK = ("segmentation", "rle", "mask", "polygon", "polygons")
NAME = ("phrase", "name", "category", "category_name", "label", "object", "text")
IMAGE = ("image", "image_index", "image_number", "image_id", "img")
_DEEPEST = 8
_IMAGE_KEY = re.compile(r"\(?image[ _]?(\d)\)?", re.IGNORECASE)


@dataclass(frozen=True)
class RowMask:
    """A mask of a row.

    Attributes:
        segmentation: As COCO writes it: run lengths, or polygons.
        name: What it is of; empty where the row does not say.
        image: Number of its image as the row has it; None where it does not say.
    """

    segmentation: Any
    name: str = ""
    image: int | None = None


def row_masks(value: Any) -> list[RowMask]:
    """All masks of a cell, in their order; none where it holds something else."""
    return list(_masks(value, "", None, 0))


def _masks(value: Any, name: str, image: int | None, depth: int) -> Iterator[RowMask]:
    if depth > _DEEPEST or value is None:
        return
    if isinstance(value, str):
        try:
            yield from _masks(json.loads(value), name, image, depth + 1) if value[:1] in "[{" else ()
        except (ValueError, RecursionError):
            return
    elif isinstance(value, Mapping):
        yield from _of_mapping(value, name, image, depth)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        if len(value) >= 6 and all(type(n) in (int, float) for n in value):
            yield RowMask([list(value)], name, image)
        else:
            for one in value:
                yield from _masks(one, name, image, depth + 1)


def _of_mapping(value: Mapping[str, Any], name: str, image: int | None, depth: int) -> Iterator[RowMask]:
    if value.get("counts") is not None and value.get("size") is not None:
        yield RowMask({"size": list(value["size"]), "counts": value["counts"]}, name, image)
        return
    field = next((f for f in MASK if value.get(f) is not None), None)
    if field is not None:
        said = next((value[f] for f in NAME if isinstance(value.get(f), str)), name)
        found = [m for f in IMAGE if f in value and (m := _image(value[f])) is not None]
        place = found[0] if found else image
        inner = list(_masks(value[field], said, place, depth + 1))
        outlines = [m.segmentation for m in inner if isinstance(m.segmentation, list)]
        # Several polygons of one record are one mask, in pieces.
        if len(inner) > 1 and len(outlines) == len(inner):
            yield RowMask([polygon for outline in outlines for polygon in outline], said, place)
        else:
            yield from inner
        return
    for key, inner_value in value.items():
        number = _IMAGE_KEY.fullmatch(str(key))
        # {"IMAGE2": {"red mug": {...}}}
        where = int(number[1]) if number else image
        yield from _masks(inner_value, name if number else str(key), where, depth + 1)


def _image(value: Any) -> int | None:
    if type(value) is int:
        return value
    match = _IMAGE_KEY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None:
        return int(match[1])
    return int(value) if isinstance(value, str) and value.isdecimal() else None
