"""One hash of everything that a run reads, so that two runs can be told to have seen the same data."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CONTENTS_UP_TO = 1 << 30
"""Bytes up to which contents are hashed; a few seconds of reading."""


@dataclass(frozen=True)
class DataHash:
    """A hash and what it covers.

    Attributes:
        sha256: Hex.
        covers: In words, what went in: contents, or sizes and times where there is too much to read.
        files: How many.
        bytes: Their sizes together.
    """

    sha256: str
    covers: str
    files: int
    bytes: int

    def line(self) -> str:
        """For people."""
        return (
            f"data {self.sha256[:16]}: {self.covers} of {self.files:,} files, {self.bytes / 2**20:,.1f} MiB"
        )

    def to_json(self) -> dict[str, Any]:
        """For `run.json`."""
        return asdict(self)


def hash_data(
    paths: Iterable[Path], *, without: Path | None = None, contents_up_to: int = CONTENTS_UP_TO
) -> DataHash:
    """Hash files, and all files below folders.

    Names are taken relative to the folder that all of them share, so that a moved data set keeps its hash.

    Args:
        paths: Files and folders; one that is named twice, or lies in a named folder, counts once. Missing
            ones are left out.
        without: A folder whose files do not count.
        contents_up_to: When the files have more bytes together, their modification times stand for their
            contents; the result says so.
    """
    files = sorted({file.resolve() for path in paths for file in _files(Path(path))})
    if without is not None:
        files = [file for file in files if not file.is_relative_to(without.resolve())]
    shared = Path(os.path.commonpath([file.parent for file in files])) if files else Path()
    sizes = {file: file.stat().st_size for file in files}
    total = sum(sizes.values())
    whole = total <= contents_up_to
    digest = hashlib.sha256()
    for file in files:
        # No name holds a NUL, so name and size cannot run into each other: "a" 12 is not "a1" 2.
        digest.update(f"{file.relative_to(shared).as_posix()}\0{sizes[file]}\0".encode(errors="replace"))
        digest.update(_content(file) if whole else str(file.stat().st_mtime_ns).encode())
    covers = "names, sizes and contents" if whole else "names, sizes and modification times"
    return DataHash(digest.hexdigest(), covers, len(files), total)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return [file for file in path.rglob("*") if file.is_file()]
    return [path] if path.is_file() else []


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()
