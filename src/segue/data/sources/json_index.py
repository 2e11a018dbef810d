"""Large COCO files by byte ranges: one pass notes where each record lies, and none of them stays in memory.

The annotations of PACO-LVIS's training split are a gigabyte of JSON, several as Python objects. The index of
a file takes 20 bytes an annotation; the records of an image are read again when the image is asked for.
"""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from segue.data.formats.coco_crowds import CrowdMarks
from segue.data.formats.coco_lists import REPEATED_IMAGE, check_lists, entry_key, stated_name
from segue.data.formats.identifiers import identifier
from segue.data.formats.text_file import is_utf8, load_text
from segue.data.sources.json_scan import LIST_BEGINS, scan
from segue.errors import RecordError


class CocoIndex:
    """Where the records of a COCO file lie, and which annotations belong to which image.

    Args:
        path: The file.
        keep_crowds: See `CrowdMarks`.

    Attributes:
        categories: The list of that name.
        image_keys: For each usable image its id as text -> its place in the file's list.
        crowds: How the file uses `iscrowd`.
        dropped: How many records cannot be reached, by reason.
        examples: The first of each reason.
        notes: What else a user should know of the file.

    Raises:
        RecordError: There is no such file, it is not JSON, or it lacks one of the three lists.

    Source: paper silent; ours.
    """

    def __init__(self, path: Path, *, keep_crowds: bool = False) -> None:
        self.path = path
        self.categories: list[Any] = []
        self.image_keys: dict[str, int] = {}
        self.crowds = CrowdMarks(keep=keep_crowds)
        self.dropped: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.notes: list[str] = []
        self._names: list[str] = []
        self._twice: set[str] = set()
        self._images = _Ranges()
        self._annotations = _Ranges()
        self._held, self._text = _as_utf8(path, self.notes)
        codes = self._scan()
        with self._text.open("rb") as file:
            self._seen = _state(file)
        self._group(codes)

    def image(self, key: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The entry of one image, and its annotations in the order of the file.

        Raises:
            RecordError: The file has changed, so that nothing lies where it was.
        """
        position = self.image_keys[key]
        with self._text.open("rb") as file:
            if _state(file) != self._seen:
                raise RecordError(
                    "The annotation file has changed since it was opened.",
                    expected="the file as it was",
                    found="another size or time of change",
                    where=str(self.path),
                    fix="run this again",
                )
            entry = self._images.load(file, position)
            code = self._code_of.get(key, -1)
            # Annotations are sorted by the code of their image: those of one image lie between it and the
            # next code.
            first, last = np.searchsorted(self._sorted_codes, [code, code + 1])
            wanted = sorted(int(row) for row in self._order[first:last])
            return entry, [self._annotations.load(file, row) for row in wanted]

    def _scan(self) -> array[int]:
        """Read the file once; returns for each annotation its image's code."""
        codes = array("q")
        places: list[tuple[int, int]] = []
        self._code_of: dict[str, int] = {}
        found: set[str] = set()
        for key, value, start, end in scan(self._text):
            if value is LIST_BEGINS:
                found.add(key)
            elif key == "categories":
                places.append((start, end))
            elif key == "images":
                self._add_image(value, start, end)
            elif key == "annotations":
                entry = value if isinstance(value, dict) else {}
                self.crowds.add(entry)
                image_key = identifier(entry.get("image_id")) or ""
                codes.append(self._code_of.setdefault(image_key, len(self._code_of)))
                self._annotations.add(start, end)
        check_lists(self.path, found)
        with self._text.open("rb") as file:  # `scan` reads texts as Latin-1; names must be exact
            for start, end in places:
                file.seek(start)
                self.categories.append(json.loads(file.read(end - start).decode("utf-8-sig")))
        for key in self._twice:
            del self.image_keys[key]
        return codes

    def _add_image(self, value: Any, start: int, end: int) -> None:
        key = entry_key(value)
        name = stated_name(value) if isinstance(value, dict) else None
        if key is None:
            self._drop("image without file_name or id", repr(value)[:60])
        elif key in self.image_keys:
            first = self._names[self.image_keys[key]]
            if name != first:  # whose the annotations are, nobody can tell
                # The first repetition makes the first image unclear too, so it counts two.
                self._drop(REPEATED_IMAGE, f"id {key} of {first!r}, {name!r}", 1 + (key not in self._twice))
                self._twice.add(key)
        else:
            self.image_keys[key] = len(self._names)
            self._names.append(name or "")
            self._images.add(start, end)

    def _drop(self, reason: str, found: str, count: int = 1) -> None:
        self.dropped[reason] += count
        self.examples.setdefault(reason, found)

    def _group(self, codes: array[int]) -> None:
        """Sort annotations by image."""
        of_image = np.frombuffer(codes, np.int64) if codes else np.zeros(0, np.int64)
        known = np.zeros(len(self._code_of), bool)
        twice = np.zeros(len(self._code_of), bool)
        for key, code in self._code_of.items():
            known[code], twice[code] = key in self.image_keys, key in self._twice
        reachable = known[of_image] if len(of_image) else np.zeros(0, bool)
        num_twice = int(np.count_nonzero(twice[of_image])) if len(of_image) else 0
        self.dropped["annotation of a repeated image id"] += num_twice
        self.dropped["image not in the file"] += int(np.count_nonzero(~reachable)) - num_twice
        rows = np.flatnonzero(reachable)
        self._order = rows[np.argsort(of_image[rows], kind="stable")]
        self._sorted_codes = of_image[self._order]
        # Unary plus drops the reasons that were counted 0 times.
        self.dropped = +self.dropped


class _Ranges:
    """Byte ranges of records."""

    def __init__(self) -> None:
        # 8 bytes an offset and 4 a length; with the 8 of the image's code that is 20 an annotation.
        self._starts = array("q")
        self._lengths = array("i")

    def add(self, start: int, end: int) -> None:
        self._starts.append(start)
        self._lengths.append(end - start)

    def load(self, file: BinaryIO, row: int) -> Any:
        file.seek(self._starts[row])
        return json.loads(file.read(self._lengths[row]).decode("utf-8"))


def _as_utf8(path: Path, notes: list[str]) -> tuple[Any, Path]:
    """The file if it is UTF-8, else a copy that is, and what keeps the copy."""
    if not path.is_file() or is_utf8(path):
        return None, path
    decoded = load_text(path)
    if decoded.is_guess:
        notes.append(decoded.wording)
    held = tempfile.NamedTemporaryFile(suffix=".json")  # noqa: SIM115  lives as long as the index
    held.write(decoded.text.encode("utf-8"))
    held.flush()
    return held, Path(held.name)


def _state(file: BinaryIO) -> tuple[int, int]:
    """Size and time of the last change."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns
