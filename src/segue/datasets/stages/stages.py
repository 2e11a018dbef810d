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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from tqdm import tqdm

from segue.datasets.stages.shards import (
    ShardEntry,
    ShardWriter,
    file_hash,
    is_there,
    settle,
)
from segue.datasets.stages.stage_output import MANIFEST, StageOutput, StoredLines, read_stage
from segue.errors import InputError
from segue.files import remove_unfinished, write_atomic

__all__ = [
    "MANIFEST",
    "MapFn",
    "ShardEntry",
    "ShardWriter",
    "StageOutput",
    "StoredLines",
    "Work",
    "batches",
    "file_hash",
    "ranges",
    "read_stage",
    "run_stage",
    "stage_key",
]

JOURNAL = "progress.jsonl"

Chunk = TypeVar("Chunk")
ChunkIn = TypeVar("ChunkIn", contravariant=True)
Item = TypeVar("Item")
Result = TypeVar("Result")


class MapFn(Protocol):
    """Applies a function to items, lazily and in their order, like the builtin `map`."""

    def __call__(self, fn: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]: ...


class Work(Protocol[ChunkIn]):
    """Work of a stage on one chunk; it must be picklable, since another process may run it."""

    def __call__(self, chunk: ChunkIn, shard: ShardWriter, /) -> None: ...


@dataclass(frozen=True)
class _ShardTask(Generic[Chunk]):
    """Makes one shard; picklable, so that it runs anywhere that sees the folder."""

    folder: Path
    work: Work[Chunk]

    def __call__(self, numbered: tuple[int, Chunk]) -> ShardEntry:
        number, chunk = numbered
        with ShardWriter(self.folder, number) as shard:
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
            # After the shard's files are in place: a line never promises what a kill has left undone.
            journal.write(json.dumps(entry.to_json()).encode() + b"\n")
            settle(journal)
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
    # Before the journal goes: a kill between the two leaves a complete stage and a file that nobody reads.
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


def _claim(folder: Path, key: str) -> dict[int, ShardEntry]:
    """Make the folder this run's own: remove stale shards, and find out which are finished."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        done = _journal(folder, key)
        if done is None:
            for path in folder.iterdir():
                # Only what stages write: whatever else somebody keeps in the folder is theirs.
                if path.name in (MANIFEST, JOURNAL) or _is_shard(path):
                    path.unlink()
            write_atomic(folder / JOURNAL, json.dumps({"key": key}) + "\n")
            done = {}
        remove_unfinished(folder)
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
            if is_there(folder, entry):
                done[entry.shard] = entry
    # Written anew without the broken half: the next line would be appended to it and lost as well.
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
    done = {entry.shard: entry for entry in entries if is_there(folder, entry)}
    lines = [json.dumps({"key": key}), *(json.dumps(entry.to_json()) for entry in done.values())]
    write_atomic(folder / JOURNAL, "\n".join(lines) + "\n")
    (folder / MANIFEST).unlink(missing_ok=True)
    return done


def _is_shard(path: Path) -> bool:
    # "images-00000.offsets.npy" has the stem "images-00000".
    stem = path.name.split(".", 1)[0]
    return stem[-5:].isdigit() and stem[-6:-5] == "-" and path.suffix in (".jsonl", ".npy")


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
