"""Which classes of objects are worth comparing with which: a table that people can edit.

Source: PRIMA sec. A.2 annotated all pairs by hand and did not publish them; `relevance.json` is ours.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from segue.errors import InputError

DEFAULT_TABLE = Path(__file__).with_name("relevance.json")


class Relevance:
    """The table.

    Args:
        groups: Names of groups to classes; classes of one group are relevant to each other.
        pairs: Further relevant pairs.
    """

    def __init__(
        self, groups: dict[str, list[str]] | None = None, pairs: Iterable[tuple[str, str]] = ()
    ) -> None:
        self._relevant: dict[str, set[str]] = defaultdict(set)
        for members in (groups or {}).values():
            for name in members:
                self._relevant[name] |= set(members)
        for first, second in pairs:
            self._relevant[first].add(second)
            self._relevant[second].add(first)

    def of(self, name: str) -> frozenset[str]:
        """The classes that a class may be compared with, itself among them."""
        return frozenset(self._relevant.get(name, set()) | {name})

    def to_json(self) -> dict[str, list[str]]:
        """Every class that has relevant ones, for a stage's configuration."""
        return {name: sorted(others) for name, others in sorted(self._relevant.items())}

    @classmethod
    def read(cls, path: str | Path = DEFAULT_TABLE) -> Relevance:
        """Read a table: JSON with `groups` (name to list of classes) and `pairs` (lists of two).

        Raises:
            InputError: The file is not such a table.
        """
        path = Path(path)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            groups, pairs = _groups(data["groups"]), [_pair(pair) for pair in data.get("pairs", [])]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                "The table of relevant classes cannot be read.",
                expected='JSON {"groups": {"seating": ["chair", "sofa"]}, "pairs": [["cat", "sofa"]]}',
                found=f"{type(error).__name__}: {error}",
                where=str(path),
                fix=f"copy {DEFAULT_TABLE.name} and edit it",
            ) from None
        return cls(groups, pairs)


# Both raise ValueError, which `read` turns into an error that names the file.
def _groups(data: Any) -> dict[str, list[str]]:
    for name, members in data.items():
        if not isinstance(members, list) or not all(isinstance(member, str) for member in members):
            raise ValueError(f"group {name!r} is not a list of names")
    return dict(data)


def _pair(data: Any) -> tuple[str, str]:
    if not isinstance(data, list) or len(data) != 2 or not all(isinstance(name, str) for name in data):
        raise ValueError(f"{data!r} is not a pair of names")
    return data[0], data[1]
