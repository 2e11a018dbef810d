"""Checks of options that several commands make before they begin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from segue.records.conversation import Split


def known_split(name: str) -> Split:
    """The value of --split, where it is written into records.

    Raises:
        InputError: Records know no such split.
    """
    from segue.errors import InputError
    from segue.records import SPLITS

    if name not in SPLITS:
        raise InputError(
            "There is no such split.",
            expected=", ".join(SPLITS),
            found=repr(name),
            where="--split",
            fix="choose one of them",
        )
    return cast("Split", name)


def make_way(file: Path) -> None:
    """Make the folder of an output file, and fail before the work rather than after it.

    Raises:
        InputError: There is a folder of the file's name, or none can be made for it.
    """
    from segue.errors import InputError
    from segue.files import make_folder

    if file.is_dir():
        raise InputError(
            "The output cannot be written.",
            expected="the name of a file",
            found="a folder of that name",
            where=str(file),
            fix="name a file, in this folder or elsewhere",
        )
    make_folder(file.parent)


def known_folder(images: Path | None) -> None:
    """Make sure that --images, where it is given, names a folder.

    Raises:
        InputError: It does not.
    """
    from segue.errors import InputError

    if images is not None and not images.expanduser().is_dir():
        raise InputError(
            "The folder of the images is not there.",
            expected="a folder",
            found="a file" if images.exists() else "nothing",
            where=str(images),
            fix="check --images",
        )
