"""Output of a complete stage: its shards, their records in order or by row, and whether all is there."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.datasets.stages.shards import ShardEntry, is_there
from segue.errors import RecordError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class StageOutput:
    """A complete stage.

    Attributes:
        folder: Where its shards lie.
        key: Hash of its configuration and inputs.
        shards: In order.
        reused: Whether everything was there already.
    """

    folder: Path
    key: str
    shards: tuple[ShardEntry, ...]
    reused: bool = field(default=False, compare=False)

    @property
    def hash(self) -> str:
        """Hash of the content, which following stages take as their input."""
        digest = hashlib.sha256()
        for shard in self.shards:
            for file in shard.files:
                # Neither folder nor counts: a stage that makes the same records elsewhere has the same hash,
                # so those after it are kept.
                digest.update(f"{file.output} {file.lines} {file.sha256}\n".encode())
        return digest.hexdigest()

    def counts(self) -> Counter[str]:
        """Everything that the work counted, added up."""
        total: Counter[str] = Counter()
        for shard in self.shards:
            total.update(shard.counts)
        return total

    def files(self, output: str) -> list[tuple[Path, int]]:
        """The files of an output in order, with their numbers of lines."""
        return [
            (self.folder / file.file, file.lines)
            for shard in self.shards
            for file in shard.files
            if file.output == output
        ]

    def total(self, output: str) -> int:
        """Number of records of an output."""
        return sum(lines for _, lines in self.files(output))

    def lines(self, output: str) -> Iterator[dict[str, Any]]:
        """Read the records of an output one by one."""
        for path, _ in self.files(output):
            with path.open("rb") as file:
                for line in file:
                    yield json.loads(line)


class StoredLines:
    """The records of an output by row, read when they are asked for; picklable, holds no record.

    Args:
        stage: A complete stage.
        output: Name of the output.
    """

    def __init__(self, stage: StageOutput, output: str) -> None:
        # The key tells apart what one path held before and after a stage was run again.
        self.key = stage.key
        self._files = [(str(path), lines) for path, lines in stage.files(output)]
        self._starts = np.cumsum([0, *(lines for _, lines in self._files)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, row: int) -> dict[str, Any]:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        # Starts [0, 500, 1000]: row 500 is the first of the second file.
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        path = self._files[shard][0]
        offsets, line = _offsets(path, self.key), int(row - self._starts[shard])
        # Opened for each row: an open file cannot be pickled, and threads would share its position.
        with open(path, "rb") as file:
            file.seek(int(offsets[line]))
            record: dict[str, Any] = json.loads(file.read(int(offsets[line + 1] - offsets[line])))
        return record

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredLines) and (self.key, self._files) == (other.key, other._files)


@lru_cache(maxsize=64)
def _offsets(path: str, key: str) -> NDArray[np.int64]:
    return np.asarray(np.load(path.removesuffix(".jsonl") + ".offsets.npy"))


def read_stage(folder: str | Path) -> StageOutput | None:
    """The stage in a folder, or None while it is not complete or a file of it is missing or cut."""
    folder = Path(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        shards = tuple(ShardEntry.from_json(entry) for entry in manifest["shards"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(
            "A stage's manifest cannot be read.",
            expected="the JSON that the stage wrote",
            found=f"{type(error).__name__}: {error}",
            where=str(folder / MANIFEST),
            fix="delete the folder; the stage is run again",
        ) from None
    whole = all(is_there(folder, entry) for entry in shards)
    return StageOutput(folder, str(manifest["key"]), shards, reused=True) if whole else None
