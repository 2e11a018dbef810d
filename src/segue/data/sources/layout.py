"""Check that a folder looks like the download it is said to be, and find one nearby that does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from segue.errors import InputError

_MOST_NEIGHBOURS = 200
_MOST_SHOWN = 12


@dataclass(frozen=True)
class Layout:
    """Layout of a download: the files and folders at its top.

    Attributes:
        source: Name of the source.
        needed: Each entry is a choice of paths relative to the root, one of which must exist.
        origin: Where it comes from, one clause for the error.
    """

    source: str
    needed: tuple[tuple[str, ...], ...]
    origin: str = ""

    def missing(self, root: Path) -> list[str]:
        """The entries of which no choice exists under `root`, written as "a or b"."""
        return [
            " or ".join(choices)
            for choices in self.needed
            if not any((root / choice).exists() for choice in choices)
        ]


def locate(root: Path, layout: Layout) -> Path:
    """Return the root if it has the layout.

    Raises:
        InputError: It has not; says what is missing, what is there, and which folder near it fits.
    """
    root = root.expanduser()
    missing = layout.missing(root)
    if not missing:
        return root
    near = next((folder for folder in _neighbours(root) if not layout.missing(folder)), None)
    raise InputError(
        f"This is not a folder of {layout.source}.",
        expected=f"{', '.join(missing)} in it",
        found=content(root),
        where=str(root),
        fix=f"did you mean {near}?" if near is not None else layout.origin or "check the path",
    )


def content(folder: Path) -> str:
    """Content of a folder, for an error: "annotations, images and 3 more"."""
    if not folder.is_dir():
        return "a file" if folder.exists() else "nothing"
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    shown = ", ".join(names[:_MOST_SHOWN])
    more = len(names) - _MOST_SHOWN
    return (f"{shown} and {more} more" if more > 0 else shown) or "an empty folder"


def _neighbours(root: Path) -> Iterator[Path]:
    """Folders that a user may have meant: three above, those below to the second level, those beside."""
    full = Path(os.path.abspath(root))
    yield from islice(full.parents, 3)
    below = _folders(full)
    yield from below
    for folder in below:
        yield from _folders(folder)
    yield from _folders(full.parent)


def _folders(folder: Path) -> list[Path]:
    try:
        # Bounded: the user may have named a folder with a million photographs, or a network drive.
        entries = islice(os.scandir(folder), 20 * _MOST_NEIGHBOURS)
        found = sorted(entry.path for entry in entries if entry.is_dir())
    except OSError:
        return []
    return [Path(path) for path in found[:_MOST_NEIGHBOURS]]
