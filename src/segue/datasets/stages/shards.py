"""Shards of a stage: what one consists of, and writing it so that it is whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from segue.files import atomic_writer


@dataclass(frozen=True)
class ShardFile:
    """One file of a shard: name within the stage's folder, lines (rows), bytes and content hash."""

    output: str
    file: str
    lines: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ShardEntry:
    """Entry of the journal about a finished shard."""

    shard: int
    files: tuple[ShardFile, ...]
    counts: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """The journal's line."""
        return {"shard": self.shard, "files": [vars(file) for file in self.files], "counts": self.counts}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ShardEntry:
        """Read a journal's line."""
        files = tuple(ShardFile(**file) for file in data["files"])
        return cls(int(data["shard"]), files, dict(data["counts"]))


class ShardWriter:
    """Where a stage's work puts the records of one chunk; a context manager: its files appear whole.

    Args:
        folder: The stage's folder.
        number: Of the shard.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.number = number
        self._folder = folder
        self._files = ExitStack()
        self._open: dict[str, tuple[IO[bytes], list[int], Any]] = {}
        self._arrays: list[ShardFile] = []
        self._counts: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: Any) -> None:
        self._files.__exit__(*failure)

    def line(self, output: str, record: Mapping[str, Any]) -> None:
        """Append a record to an output such as "kept"; each output is a JSONL file of its own."""
        if output not in self._open:
            writer = atomic_writer(self._folder / f"{self.name(output)}.jsonl", "wb")
            self._open[output] = (self._files.enter_context(writer), [0], hashlib.sha256())
        file, offsets, digest = self._open[output]
        # NaN is no JSON: other readers of the file would refuse the line.
        line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        file.write(line)
        digest.update(line)
        offsets.append(offsets[-1] + len(line))

    def array(self, output: str, rows: NDArray[Any]) -> None:
        """Write an array `[n, ...]`, one row a record, as `.npy`."""
        path = self._folder / f"{self.name(output)}.npy"
        # A transposed array would be saved in Fortran's order: other bytes, and another hash, for the same
        # rows.
        _save_array(path, np.ascontiguousarray(rows))
        self._arrays.append(ShardFile(output, path.name, len(rows), path.stat().st_size, file_hash(path)))

    def count(self, what: str, number: int = 1) -> None:
        """Count something that the stage's report shall name."""
        self._counts[what] += number

    def name(self, output: str) -> str:
        """The file of an output, without its ending."""
        return f"{output}-{self.number:05d}"

    def finish(self) -> ShardEntry:
        """Put every file into its place; the line offsets of `a-00000.jsonl` go to `a-00000.offsets.npy`."""
        # Moves the lines into place before their offsets: a file without offsets is not in the entry, and
        # made again.
        self._files.close()
        files = list(self._arrays)
        for output, (_, offsets, digest) in sorted(self._open.items()):
            # One more than there are lines: lines of 41 and 56 bytes give [0, 41, 97].
            index = self._folder / f"{self.name(output)}.offsets.npy"
            _save_array(index, np.asarray(offsets, dtype=np.int64))
            file = f"{self.name(output)}.jsonl"
            files.append(ShardFile(output, file, len(offsets) - 1, offsets[-1], digest.hexdigest()))
        return ShardEntry(self.number, tuple(files), dict(sorted(self._counts.items())))


def _save_array(path: Path, rows: NDArray[Any]) -> None:
    with atomic_writer(path, "wb") as file:
        np.save(file, rows)


def is_there(folder: Path, entry: ShardEntry) -> bool:
    """Whether all files of a shard have the noted size; hashing them at every start would take minutes."""
    return all(_size(folder / file.file) == file.bytes for file in entry.files)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def settle(file: Any) -> None:
    """Let what was written reach the disk."""
    file.flush()
    os.fsync(file.fileno())


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
