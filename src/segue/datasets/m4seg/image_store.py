"""Reading stage 1 back: one image by its row, and what sampling needs to know of all of them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from segue.datasets.m4seg.stored_image import StoredImage
from segue.datasets.stages.stages import StageOutput, StoredLines

IDS_AT_ONCE = 500
"""Python strings of so many ids are held before they become an array."""


class ImageStore:
    """The images of the stage by row, read from disk when they are asked for; picklable.

    Args:
        output: The complete stage.
    """

    def __init__(self, output: StageOutput) -> None:
        self._lines = StoredLines(output, "images")

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, row: int) -> StoredImage:
        return _stored_image(self._lines, row)


@lru_cache(maxsize=256)
def _stored_image(lines: StoredLines, row: int) -> StoredImage:
    """One image; neighbours are asked for again and again, hence the cache."""
    return StoredImage.from_json(lines[row])


@dataclass(frozen=True)
class ImageTable:
    """Table of all images for sampling, in arrays of a few bytes an image.

    Attributes:
        source: `[N]` index into `sources`.
        copies: `[N]` equal for image files of equal content.
        chance: `[N]` in [0, 1), from the content hash: which images are for testing.
        class_rows: Class name -> its rows, ascending.
        sources: Names.
        source_split: `[N]` index into `splits`.
        splits: Names of the sources' own splits.
        ids: `[N]` image ids as bytes.
    """

    source: NDArray[np.int16]
    copies: NDArray[np.int64]
    chance: NDArray[np.float64]
    class_rows: dict[str, NDArray[np.int64]]
    sources: tuple[str, ...]
    source_split: NDArray[np.int16]
    splits: tuple[str, ...]
    ids: NDArray[np.bytes_]

    def __len__(self) -> int:
        return len(self.source)

    def image_id(self, row: int) -> str:
        """The id of an image."""
        return bytes(self.ids[row]).decode()

    @classmethod
    def read(cls, output: StageOutput) -> ImageTable:
        """Read the stage's index."""
        count = output.total("index")
        source, split = np.zeros(count, np.int16), np.zeros(count, np.int16)
        content = np.zeros(count, np.uint64)
        ids: list[NDArray[np.bytes_]] = []
        some: list[bytes] = []
        sources: dict[str, int] = {}
        splits: dict[str, int] = {}
        rows: dict[str, list[int]] = defaultdict(list)
        for row, line in enumerate(output.lines("index")):
            source[row] = sources.setdefault(line["id"].partition(":")[0], len(sources))
            split[row] = splits.setdefault(line["split"], len(splits))
            some.append(line["id"].encode())
            # As bytes of one width: an array of Python strings, or of NumPy's 4-byte characters, is several
            # times as large.
            if len(some) == IDS_AT_ONCE or row == count - 1:
                ids.append(np.asarray(some, np.bytes_))
                some = []
            # 64 of the 256 bits: enough to tell files apart, and a number that NumPy can hold.
            content[row] = int(line["sha256"][:16], 16)
            for name in line["classes"]:
                rows[name].append(row)
        copies = np.unique(content, return_inverse=True)[1]
        classes = {name: np.asarray(rows[name], np.int64) for name in sorted(rows)}
        # From the content and not from the name: copies of a file fall on one side of the split.
        chance = content.astype(np.float64) / 2.0**64
        return cls(source, copies, chance, classes, tuple(sources), split, tuple(splits), np.concatenate(ids))
