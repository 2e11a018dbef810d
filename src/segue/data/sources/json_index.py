"""Large COCO files by byte ranges: one pass notes where each record lies, and none of them stays in memory.

The annotations of PACO-LVIS's training split are a gigabyte of JSON, several as Python objects. The index of
a file takes 28 bytes an annotation; the records of an image are read again when the image is asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from segue.data.formats.coco import record_id
from segue.data.sources.json_scan import LIST_BEGINS, scan
from segue.errors import RecordError

_LISTS = ("images", "annotations", "categories")


class CocoIndex:
    """Where the records of a COCO file lie, and which annotations belong to which image.

    Args:
        path: The file.

    Attributes:
        categories: The list of that name.
        image_keys: For each usable image its id as text -> its place in the file's list.
        dropped: How many records cannot be reached, by reason.

    Raises:
        RecordError: There is no such file, it is not JSON, or it lacks one of the three lists.

    Source: paper silent; ours.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.categories: list[Any] = []
        self.image_keys: dict[str, int] = {}
        self.dropped: Counter[str] = Counter()
        self._image_ids: list[Any] = []
        self._images = _Ranges()
        self._annotations = _Ranges()
        codes, names = self._scan()
        with path.open("rb") as file:
            self._seen = _state(file)
        self._group(codes, names)

    def image(self, key: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The entry of one image, and its annotations in the order of the file.

        Raises:
            RecordError: The file has changed, so that nothing lies where it was.
        """
        position = self.image_keys[key]
        with self.path.open("rb") as file:
            if _state(file) != self._seen:
                raise RecordError(
                    "The annotation file has changed since it was opened.",
                    expected="the file as it was",
                    found="another size or time of change",
                    where=str(self.path),
                    fix="run this again",
                )
            entry = self._images.load(file, position)
            code = self._code_of.get(self._image_ids[position], -1)
            first, last = np.searchsorted(self._sorted_codes, [code, code + 1])
            wanted = sorted(int(row) for row in self._order[first:last])
            return entry, [self._annotations.load(file, row) for row in wanted]

    def _scan(self) -> tuple[array[int], array[int]]:
        """Read the file once; returns for each annotation its image's code, and its id as a number."""
        codes, names = array("q"), array("q")
        self._code_of: dict[Any, int] = {}
        found: set[str] = set()
        for key, value, start, end in scan(self.path):
            if value is LIST_BEGINS:
                found.add(key)
            elif key == "categories":
                self.categories.append(value)
            elif key == "images":
                self._add_image(value, start, end)
            elif key == "annotations":
                identifier = record_id(value.get("id")) if isinstance(value, dict) else None
                if identifier is None:
                    self.dropped["annotation without id"] += 1
                    continue
                image_id = record_id(value.get("image_id"))
                codes.append(self._code_of.setdefault(image_id, len(self._code_of)))
                names.append(_number(identifier))
                self._annotations.add(start, end)
        missing = [key for key in _LISTS if key not in found]
        if missing:
            raise RecordError(
                "Annotation file is not in COCO format",
                expected="lists `images`, `annotations` and `categories`",
                found=f"no list {', '.join(missing)}",
                where=str(self.path),
                fix="pass the instances file (not captions, not a single annotation)",
            )
        return codes, names

    def _add_image(self, value: Any, start: int, end: int) -> None:
        image_id = record_id(value.get("id")) if isinstance(value, dict) else None
        if image_id is None:
            self.dropped["image without file_name or id"] += 1
        elif str(image_id) in self.image_keys:
            self.dropped["repeated image id"] += 1
        else:
            self.image_keys[str(image_id)] = len(self._image_ids)
            self._image_ids.append(image_id)
            self._images.add(start, end)

    def _group(self, codes: array[int], names: array[int]) -> None:
        """Sort annotations by image; a repeated id would make parents ambiguous, so the first one counts."""
        of_image = np.frombuffer(codes, np.int64) if codes else np.zeros(0, np.int64)
        identifiers = np.frombuffer(names, np.int64) if names else np.zeros(0, np.int64)
        first = np.zeros(len(identifiers), bool)
        first[np.unique(identifiers, return_index=True)[1]] = True
        self.dropped["repeated annotation id"] += int(np.count_nonzero(~first))
        known = np.zeros(len(self._code_of), bool)
        for image_id in self._image_ids:
            if image_id in self._code_of:
                known[self._code_of[image_id]] = True
        reachable = first & (known[of_image] if len(of_image) else first)
        self.dropped["image not in the file"] += int(np.count_nonzero(first & ~reachable))
        rows = np.flatnonzero(reachable)
        self._order = rows[np.argsort(of_image[rows], kind="stable")]
        self._sorted_codes = of_image[self._order]
        self.dropped = +self.dropped


class _Ranges:
    """Byte ranges of records."""

    def __init__(self) -> None:
        self._starts = array("q")
        self._lengths = array("i")

    def add(self, start: int, end: int) -> None:
        self._starts.append(start)
        self._lengths.append(end - start)

    def load(self, file: BinaryIO, row: int) -> Any:
        file.seek(self._starts[row])
        return json.loads(file.read(self._lengths[row]).decode("utf-8"))


def _state(file: BinaryIO) -> tuple[int, int]:
    """Size and time of the last change."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _number(identifier: Any) -> int:
    """A 63-bit number for an id; 1 and "1" are the same, since regions are named by text."""
    text = str(identifier)
    if text.isdecimal() and len(text) < 19:
        return int(text)
    return -1 - (
        int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()) >> 1
    )
