"""Stage 2: one vector of length 1 for each image, in files that are mapped into memory, not read.

Source: PRIMA sec. A.2, eq. 1: `d(i, j) = 1 - cos(DINO(i), DINO(j))`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segue.datasets.m4seg.embedders import Embedder, open_embedder
from segue.datasets.m4seg.images import ImageStore
from segue.datasets.stages.stages import MapFn, ShardWriter, StageOutput, ranges, run_stage
from segue.errors import ImageError
from segue.images import load_image

VERSION = 1
SHARD = 512
BATCH = 16
DTYPE = "float16"
"""Halves the file; a cosine of two vectors of 1024 changes by less than 1e-4."""


@dataclass(frozen=True)
class EmbedImages:
    """The work of the stage.

    Attributes:
        store: The images.
        embedder: Name for `open_embedder`, or an embedder itself.
    """

    store: ImageStore
    embedder: str | Embedder

    def __call__(self, chunk: range, shard: ShardWriter) -> None:
        embedder = open_embedder(self.embedder) if isinstance(self.embedder, str) else self.embedder
        rows = np.zeros((len(chunk), embedder.dim), np.float32)
        for start in range(0, len(chunk), BATCH):
            pictures, places = [], []
            for place in range(start, min(start + BATCH, len(chunk))):
                try:
                    pictures.append(load_image(self.store[chunk[place]].path))
                    places.append(place)
                except ImageError:
                    # A vector of zeros has the distance 1 to everything: such an image is never a neighbour.
                    shard.count("image files that cannot be read")
            if pictures:
                rows[places] = embedder(pictures)
        shard.count("vectors", len(chunk))
        # Length 1 before the cut to half precision, which overflows at 65504.
        shard.array("vectors", normalised(rows).astype(DTYPE))


def normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1, `[n, dim]`; rows of zeros stay."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def embed_images(
    folder: Path,
    images: StageOutput,
    embedder: str | Embedder,
    *,
    map_fn: MapFn = map,
    progress: bool = True,
) -> StageOutput:
    """Run the stage.

    Args:
        folder: Of the stage.
        images: The stage of the images.
        embedder: A name, which other processes can open, or an embedder.
        map_fn: See `run_stage`.
        progress: See `run_stage`.
    """
    opened = open_embedder(embedder) if isinstance(embedder, str) else embedder
    store = ImageStore(images)
    config = {"version": VERSION, "embedder": opened.name, "dim": opened.dim, "dtype": DTYPE, "shard": SHARD}
    return run_stage(
        folder,
        ranges(len(store), SHARD),
        EmbedImages(store, embedder),
        config=config,
        inputs={"images": images.hash, "weights": opened.digest},
        map_fn=map_fn,
        total=-(-len(store) // SHARD),
        progress=progress,
    )


class Features:
    """The vectors of a complete stage by row; picklable, nothing is held in memory.

    Args:
        output: The complete stage.
    """

    def __init__(self, output: StageOutput) -> None:
        self._key = output.key
        self._files = [(str(path), rows) for path, rows in output.files("vectors")]
        self._starts = np.cumsum([0, *(rows for _, rows in self._files)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    # What is built on them may be cached, also in other processes.
    def __hash__(self) -> int:
        return hash((self._key, self._files[0] if self._files else ""))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Features) and (self._key, self._files) == (other._key, other._files)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of some rows, `[len(rows), dim]`."""
        # Row to file: starts [0, 512, 1024] and row 512 give file 1, hence side="right" and the step back.
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        taken: NDArray[np.float32] | None = None
        for shard in np.unique(shards):
            matrix = _mapped(self._files[shard][0], self._key)
            if taken is None:
                taken = np.empty((len(rows), matrix.shape[1]), np.float32)
            # One look-up a file for all its rows: the map then reads the pages of these rows alone.
            here = shards == shard
            taken[here] = matrix[rows[here] - self._starts[shard]]
        return np.empty((0, 0), np.float32) if taken is None else taken


# `key` is for the cache only: a stage made anew writes other vectors to the same path.
@lru_cache(maxsize=4096)
def _mapped(path: str, key: str) -> NDArray[np.float16]:
    return np.load(path, mmap_mode="r")
