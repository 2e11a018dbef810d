"""Opened photographs are kept up to a size, and never instead of a file that has changed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from segue.training.finetune.image_cache import ImageCache, picture_bytes


def picture(value: float = 0.0) -> dict[str, Any]:
    return {"hw": (4, 4), "streams": {"pixel_values": torch.full((1, 3, 4, 4), float(value))}}


SIZE = picture_bytes(picture())


def files(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{k}.jpg" for k in range(count)]
    for path in paths:
        path.write_bytes(b"x")
    return paths


def test_the_latest_are_kept_up_to_a_size(tmp_path: Path) -> None:
    assert SIZE == 3 * 4 * 4 * 4
    cache, (a, b, c) = ImageCache(2 * SIZE), files(tmp_path, 3)
    first = picture(1)
    cache.put(a, first)
    cache.put(b, picture(2))
    assert cache.get(a) is first
    cache.put(c, picture(3))
    assert cache.get(b) is None, "asked for the longest ago"
    assert cache.get(a) is first
    assert cache.get(c) is not None
    assert cache.held == 2 * SIZE


def test_a_changed_or_missing_file_is_opened_again(tmp_path: Path) -> None:
    cache, (path,) = ImageCache(), files(tmp_path, 1)
    cache.put(path, picture())
    os.utime(path, ns=(1, 1))
    assert cache.get(path) is None
    assert cache.held == 0
    cache.put(path, picture())
    path.unlink()
    assert cache.get(path) is None
    cache.put(path, picture())
    assert cache.held == 0


def test_the_same_file_counts_once_and_a_huge_one_not_at_all(tmp_path: Path) -> None:
    cache, (path, other) = ImageCache(SIZE), files(tmp_path, 2)
    for _ in range(3):
        cache.put(path, picture())
    assert cache.held == SIZE
    cache.put(other, {"streams": {"pixel_values": torch.zeros(1, 3, 40, 40)}})
    assert cache.get(other) is None
    assert cache.get(path) is not None


def test_a_picture_itself_counts_with_its_pixels() -> None:
    assert picture_bytes({"hw": (5, 7), "image": Image.new("RGB", (7, 5))}) == 3 * 5 * 7


def test_workers_begin_with_nothing(tmp_path: Path) -> None:
    cache, (path,) = ImageCache(), files(tmp_path, 1)
    cache.put(path, picture())
    copy = pickle.loads(pickle.dumps(cache))
    assert copy.get(path) is None
    assert (copy.held, copy.most_bytes) == (0, cache.most_bytes)
