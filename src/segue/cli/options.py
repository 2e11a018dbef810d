"""Checks of options that several commands make before they begin."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from segue.records.conversation import Split

SERVER_PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
"""What the servers import."""


def known_packages(names: Sequence[str], command: str, extra: str) -> None:
    """Make sure that a command's optional packages are there, before it does anything.

    Raises:
        InputError: One is missing; names the extra that installs it.
    """
    from segue.errors import InputError

    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise InputError(
            "The packages that this command needs are not installed.",
            expected=", ".join(names),
            found=f"no {', '.join(missing)}",
            where=command,
            fix=f"install the extra: pip install 'segue[{extra}]'",
        )


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
