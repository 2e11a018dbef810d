"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segue.errors import InputError


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write into; it takes the name `out` when everything succeeded.

    Raises:
        InputError: `out` exists and is not an empty folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            "The output folder is not empty.",
            expected="a new or an empty folder",
            found="files in it" if out.is_dir() else "a file of that name",
            where=str(out),
            fix="choose another folder, or delete this one",
        )
    partial = out.with_name(out.name + ".partial")
    # Left by a conversion that was killed.
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        # Empty, as was checked above: `os.replace` does not take an existing folder on every system.
        if out.is_dir():
            out.rmdir()
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
