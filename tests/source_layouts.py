"""Pieces of the source data sets' layouts, for tests that write small downloads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segue import masks

H, W = 24, 32


def block(top: int, left: int, bottom: int, right: int) -> np.ndarray[Any, Any]:
    """A rectangle as a mask of 24 x 32 pixels."""
    mask = np.zeros((H, W), bool)
    mask[top:bottom, left:right] = True
    return mask


def photo(path: Path, hw: tuple[int, int] = (H, W)) -> Path:
    """Save a grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (hw[1], hw[0]), (90, 100, 110)).save(path)
    return path


def label_map(path: Path, numbers: np.ndarray[Any, Any]) -> Path:
    """Save numbers as a PNG of one channel, 8 or 16 bits by their type."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(numbers).save(path)
    return path


def dump(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def annotation(
    number: int, image: int, category: int, mask: np.ndarray[Any, Any], **more: Any
) -> dict[str, Any]:
    return {
        "id": number, "image_id": image, "category_id": category, "iscrowd": 0,
        "segmentation": masks.encode(mask), "bbox": masks.box(mask), "area": int(mask.sum()), **more,
    }  # fmt: skip
