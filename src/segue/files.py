"""Files that appear complete or not at all, and output folders that fail before the work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from segue.errors import InputError

__all__ = [
    "atomic_path",
    "atomic_writer",
    "make_folder",
    "relative_path",
    "remove_unfinished",
    "unwritable",
    "write_atomic",
]


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A name beside `path` to write to; it becomes `path` when the block ends, and is removed when it fails.

    For libraries that want a file name: `with atomic_path(out) as unfinished: image.save(unfinished)`. The
    suffix is kept, because many of them choose the format by it.

    Source: ours.
    """
    path = Path(path)
    # The process number keeps two writers of one file apart: the last one wins, and neither is torn.
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.unfinished{path.suffix}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def atomic_writer(path: str | Path, mode: str = "w", **options: Any) -> Iterator[IO[Any]]:
    """An open file that becomes `path` when the block ends; a kill or an error leaves the old file as it was.

    Args:
        path: The file to write; its folder exists.
        mode: "w" (UTF-8, newlines as given) or "wb".
        **options: Of `open`.
    """
    if "b" not in mode:
        options = {"encoding": "utf-8", "newline": ""} | options
    with atomic_path(path) as unfinished, open(unfinished, mode, **options) as file:
        yield file
        file.flush()
        # Without this, a machine that loses power may keep the new name with none of the new content.
        os.fsync(file.fileno())


def write_atomic(path: str | Path, content: str | bytes) -> Path:
    """Write a whole file at once, see `atomic_writer`; returns its path."""
    with atomic_writer(path, "wb" if isinstance(content, bytes) else "w") as file:
        file.write(content)
    return Path(path)


def remove_unfinished(folder: Path) -> None:
    """Delete the unfinished files that killed processes left in a folder.

    Only for a folder in which nobody else is writing: the file of a living writer would go too.
    """
    for path in folder.glob(".*.unfinished*"):
        path.unlink(missing_ok=True)


def relative_path(path: str | Path, folder: str | Path) -> str:
    """Write a path relative to a folder, with slashes, as records name their images.

    Absolute where there is no relative one: on another drive of Windows.
    """
    path, folder = Path(path).resolve(), Path(folder).resolve()
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return path.as_posix()


def make_folder(folder: Path) -> None:
    """Make an output folder, and fail before the work rather than after it.

    Raises:
        InputError: There is a file of that name, or it may not be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise unwritable(folder, PermissionError(13, "permission denied"))


def unwritable(folder: Path, error: OSError) -> InputError:
    """The error of an output folder that cannot be written."""
    return InputError(
        "The output folder cannot be written.",
        expected="a folder that may be written",
        found=error.strerror or str(error),
        where=str(folder),
        fix="choose another folder with --out",
    )
