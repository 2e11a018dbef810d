"""Parts of divided data by the names that people give them: Roboflow's "valid", CVAT's "Validation"."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

SPLIT_NAMES: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Names of a split in folder and file names, the usual one first."""


def words_of(name: str) -> set[str]:
    """The words in a file's or folder's name, years left out: "instances_train2017" -> instances, train."""
    return set(re.findall(r"[^\W\d_]+", name.lower()))


def names_split(name: str, split: str) -> bool:
    """Whether a file or folder is called like a split, as a word of its own: not "interval" for val."""
    return bool(words_of(name) & set(SPLIT_NAMES.get(split, (split.lower(),))))


def split_folder(folder: Path, split: str) -> Path | None:
    """The subfolder that holds a split: "val", else "valid" and the like, in any letter case."""
    wanted = SPLIT_NAMES.get(split, (split.lower(),))
    own = [entry for entry in _folders(folder) if entry.name.lower() in wanted]
    return min(own, key=lambda entry: wanted.index(entry.name.lower()), default=None)


def _folders(folder: Path) -> Iterable[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else ()


def json_files(folder: Path, split: str) -> list[Path]:
    """All JSON files of a folder, sorted; where a subfolder is named like the split, only those in it."""
    own = split_folder(folder, split)
    if own is not None and any(own.rglob("*.json")):
        folder = own
    found = (path for path in folder.rglob("*.json") if path.is_file())
    return sorted(
        path for path in found if not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )
