"""What several commands check about an option before they begin."""

from __future__ import annotations

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
