"""Stages of a dataset construction: sharded, resumable, run again only when what goes in has changed.

A stage turns chunks (ranges of rows, batches of images) into shards, one shard a chunk. Each shard is
written beside its place and renamed, then noted in a journal, so that a run that was killed at any moment
goes on after the last shard that it finished. Its bytes depend on its chunk alone; who computed it (`map`,
processes, a cluster) and how often it was interrupted cannot be seen in them.

    images/progress.jsonl      {"key": "9c1f..."}                    while the stage runs
                               {"shard": 0, "files": [...], "counts": {...}}
    images/images-00000.jsonl  the shard
    images/manifest.json       {"stage", "key", "config", "inputs", "hash", "shards"}    when it is complete

The key is a hash of the configuration and of the inputs' hashes; a folder with another key holds stale
shards, which are removed. Nothing here knows what the records mean.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from segue.errors import InputError, RecordError

MANIFEST = "manifest.json"
JOURNAL = "progress.jsonl"
_UNFINISHED = ".part"

Chunk = TypeVar("Chunk")
ChunkIn = TypeVar("ChunkIn", contravariant=True)
Item = TypeVar("Item")
Result = TypeVar("Result")


class MapFn(Protocol):
    """Applies a function to items, lazily and in their order, like the builtin `map`."""

    def __call__(self, fn: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]: ...


class Work(Protocol[ChunkIn]):
    """What a stage does with one chunk; it must be picklable, since another process may run it."""

    def __call__(self, chunk: ChunkIn, shard: ShardWriter, /) -> None: ...


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
    """What the journal notes of a finished shard."""

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
    """Where a stage's work puts the records of one chunk.

    Args:
        folder: The stage's folder.
        number: Of the shard.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.number = number
        self._folder = folder
        self._open: dict[str, tuple[Any, list[int], Any]] = {}
        self._arrays: list[ShardFile] = []
        self._counts: Counter[str] = Counter()

    def line(self, output: str, record: Mapping[str, Any]) -> None:
        """Append a record to an output such as "kept"; each output is a JSONL file of its own."""
        if output not in self._open:
            path = self._folder / f"{self.name(output)}.jsonl{_UNFINISHED}"
            self._open[output] = (path.open("wb"), [0], hashlib.sha256())
        file, offsets, digest = self._open[output]
        line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        file.write(line)
        digest.update(line)
        offsets.append(offsets[-1] + len(line))

    def array(self, output: str, rows: NDArray[Any]) -> None:
        """Write an array, one row a record, as `.npy`."""
        path = self._folder / f"{self.name(output)}.npy"
        part = path.with_name(path.name + _UNFINISHED)
        with part.open("wb") as file:
            np.save(file, np.ascontiguousarray(rows))
            _settle(file)
        os.replace(part, path)
        self._arrays.append(ShardFile(output, path.name, len(rows), path.stat().st_size, file_hash(path)))

    def count(self, what: str, number: int = 1) -> None:
        """Count something that the stage's report shall name."""
        self._counts[what] += number

    def name(self, output: str) -> str:
        """The file of an output, without its ending."""
        return f"{output}-{self.number:05d}"

    def finish(self) -> ShardEntry:
        """Put every file into its place; the line offsets of `a-00000.jsonl` go to `a-00000.offsets.npy`."""
        files = list(self._arrays)
        for output, (file, offsets, digest) in sorted(self._open.items()):
            _settle(file)
            file.close()
            path = self._folder / f"{self.name(output)}.jsonl"
            index = self._folder / f"{self.name(output)}.offsets.npy"
            part = index.with_name(index.name + _UNFINISHED)
            with part.open("wb") as where:
                np.save(where, np.asarray(offsets, dtype=np.int64))
            os.replace(part, index)
            os.replace(path.with_name(path.name + _UNFINISHED), path)
            files.append(ShardFile(output, path.name, len(offsets) - 1, offsets[-1], digest.hexdigest()))
        return ShardEntry(self.number, tuple(files), dict(sorted(self._counts.items())))


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
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        path = self._files[shard][0]
        offsets, line = _offsets(path, self.key), int(row - self._starts[shard])
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


@dataclass(frozen=True)
class _ShardTask(Generic[Chunk]):
    """Makes one shard; picklable, so that it runs anywhere that sees the folder."""

    folder: Path
    work: Work[Chunk]

    def __call__(self, numbered: tuple[int, Chunk]) -> ShardEntry:
        number, chunk = numbered
        shard = ShardWriter(self.folder, number)
        self.work(chunk, shard)
        return shard.finish()


def run_stage(
    folder: str | Path,
    chunks: Iterable[Chunk],
    work: Work[Chunk],
    *,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    map_fn: MapFn = map,
    total: int | None = None,
    progress: bool = True,
) -> StageOutput:
    """Make the shards that are not there yet, and say what the stage holds.

    Args:
        folder: Of this stage alone; made when it is missing. Stale shards of another configuration are
            removed.
        chunks: One a shard; the same inputs and configuration must give the same chunks in the same order.
            Read lazily: those of finished shards are passed over.
        work: Writes the records of one chunk.
        config: Plain JSON values that decide the result; part of the key. Name a version in it when the code
            behind the stage changes its results.
        inputs: Name to hash of what the stage reads; part of the key.
        map_fn: Runs the work; the builtin `map` by default.
        total: Number of chunks for the progress bar, where it is known.
        progress: Whether to show the bar.

    Returns:
        The complete stage.

    Raises:
        InputError: The folder cannot be written.

    Source: paper silent; ours.
    """
    folder = Path(folder)
    key = stage_key(folder.name, config, inputs)
    ready = read_stage(folder)
    if ready is not None and ready.key == key:
        return ready
    done = _claim(folder, key)
    with (
        (folder / JOURNAL).open("ab") as journal,
        tqdm(total=total, initial=len(done), desc=folder.name, unit="shard", disable=not progress) as bar,
    ):
        missing = ((n, chunk) for n, chunk in enumerate(chunks) if n not in done)
        task: _ShardTask[Chunk] = _ShardTask(folder, work)
        for entry in map_fn(task, missing):
            journal.write(json.dumps(entry.to_json()).encode() + b"\n")
            _settle(journal)
            done[entry.shard] = entry
            bar.update()
    output = StageOutput(folder, key, tuple(done[n] for n in sorted(done)))
    manifest = {
        "stage": folder.name,
        "key": key,
        "config": dict(config),
        "inputs": dict(inputs),
        "hash": output.hash,
        "counts": dict(output.counts()),
        "shards": [entry.to_json() for entry in output.shards],
    }
    write_atomic(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    (folder / JOURNAL).unlink(missing_ok=True)
    return output


def stage_key(name: str, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """The hash that says whether shards are still those that a run would make."""
    told = {"stage": name, "config": dict(config), "inputs": dict(inputs)}
    try:
        return hashlib.sha256(json.dumps(told, sort_keys=True, allow_nan=False).encode()).hexdigest()
    except (TypeError, ValueError) as error:
        raise InputError(
            "A stage's configuration cannot be written down.",
            expected="plain strings, finite numbers, lists and mappings",
            found=str(error),
            where=f"stage {name}",
            fix="convert paths with str() and arrays with .tolist()",
        ) from None


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
    whole = all(_is_there(folder, entry) for entry in shards)
    return StageOutput(folder, str(manifest["key"]), shards, reused=True) if whole else None


def _claim(folder: Path, key: str) -> dict[int, ShardEntry]:
    """Make the folder this run's own: remove stale shards, and find out which are finished."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        done = _journal(folder, key)
        if done is None:
            for path in folder.iterdir():
                if path.name in (MANIFEST, JOURNAL) or _is_shard(path):
                    path.unlink()
            write_atomic(folder / JOURNAL, json.dumps({"key": key}) + "\n")
            done = {}
        for path in folder.glob(f"*{_UNFINISHED}"):
            path.unlink()
    except OSError as error:
        raise InputError(
            "The folder of a stage cannot be written.",
            expected="a folder with room in it",
            found=f"{type(error).__name__}: {error}",
            where=str(folder),
            fix="choose another --out, or make room",
        ) from None
    return done


def _journal(folder: Path, key: str) -> dict[int, ShardEntry] | None:
    """Finished shards by number; None when the folder holds nothing of this key."""
    try:
        lines = (folder / JOURNAL).read_bytes().split(b"\n")
        if json.loads(lines[0])["key"] != key:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return _complete_but_damaged(folder, key)
    done = {}
    for line in lines[1:]:
        # Half a last line is what a killed run leaves; its shard is made again.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = ShardEntry.from_json(json.loads(line))
            if _is_there(folder, entry):
                done[entry.shard] = entry
    entries = [json.dumps({"key": key}), *(json.dumps(entry.to_json()) for entry in done.values())]
    write_atomic(folder / JOURNAL, "\n".join(entries) + "\n")
    return done


def _complete_but_damaged(folder: Path, key: str) -> dict[int, ShardEntry] | None:
    """The sound shards of a stage that was complete and has lost a file since."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["key"] != key:
            return None
        entries = [ShardEntry.from_json(entry) for entry in manifest["shards"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    done = {entry.shard: entry for entry in entries if _is_there(folder, entry)}
    lines = [json.dumps({"key": key}), *(json.dumps(entry.to_json()) for entry in done.values())]
    write_atomic(folder / JOURNAL, "\n".join(lines) + "\n")
    (folder / MANIFEST).unlink(missing_ok=True)
    return done


def _is_there(folder: Path, entry: ShardEntry) -> bool:
    """Whether all files of a shard have the noted size; hashing them at every start would take minutes."""
    return all(_size(folder / file.file) == file.bytes for file in entry.files)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _is_shard(path: Path) -> bool:
    stem = path.name.split(".", 1)[0]
    return stem[-5:].isdigit() and stem[-6:-5] == "-" and path.suffix in (".jsonl", ".npy", _UNFINISHED)


def _settle(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def write_atomic(path: Path, text: str) -> None:
    """Write a small text file so that it is either the old one or the new one."""
    part = path.with_name(path.name + _UNFINISHED)
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        _settle(file)
    os.replace(part, path)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Cut a stream into lists of `size`, the last one shorter."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def ranges(count: int, size: int) -> Sequence[range]:
    """Cut `range(count)` into ranges of `size`, the last one shorter."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]
