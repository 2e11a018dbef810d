"""Names of things: the user's words, tidied only where no two of them become one.

LVIS and PACO decorate names (`car_(automobile)`, `pool_table`); people write "bottle (full)" and mean it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

_MOST_SHOWN = 8


def clean_name(name: str) -> str:
    """Strip LVIS decorations: `car_(automobile)` -> `car`, `pool_table` -> `pool table`; lower case.

    A note in brackets after a blank, as people write it, stays: "bottle (full)".
    """
    return _spaced(re.sub(r"_\([^)]*\)", "", name)) or _spaced(name) or name


def _spaced(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).lower()


def name_key(name: str) -> str:
    """Clean a name on both sides of its colon: `car_(automobile):wheel` -> `car:wheel`."""
    return ":".join(clean_name(side) for side in name.split(":", 1))


class NameTable:
    """How each name of a data set is said, no two different ones alike.

    Args:
        names: All of them, as written; parts as "car:wheel".

    Attributes:
        notes: What was kept apart, one sentence each.
    """

    def __init__(self, names: Iterable[str]) -> None:
        owners: set[str] = set()
        parts: dict[str, set[str]] = defaultdict(set)
        for name in names:
            owner, colon, part = name.partition(":")
            owners.add(_tight(owner))
            if colon:
                parts[_tight(owner)].add(_tight(part))
        self.notes: list[str] = []
        self._owners = self._told_apart(owners)
        self._parts = {owner: self._told_apart(own) for owner, own in parts.items()}

    def object(self, name: str) -> str:
        """Name of an object; of "car:wheel" that of the car."""
        owner = _tight(name.partition(":")[0])
        return self._owners.get(owner) or clean_name(owner)

    def part(self, name: str) -> str:
        """Name of the part in "car:wheel" apart from its object; "" for an object."""
        owner, _, part = name.partition(":")
        return self._parts.get(_tight(owner), {}).get(_tight(part)) or clean_name(part)

    def key(self, name: str) -> str:
        """Both sides: "car" or "car:wheel"."""
        return f"{self.object(name)}:{self.part(name)}" if ":" in name else self.object(name)

    def _told_apart(self, names: Iterable[str]) -> dict[str, str]:
        """Each name in the tidiest form in which it is no other one's."""
        groups: dict[str, list[str]] = defaultdict(list)
        for name in sorted(names):
            groups[clean_name(name)].append(name)
        # What a name says in its own words belongs to it: "bow" beside "bow_(weapon)" keeps "bow".
        said: dict[str, str] = {}
        for clean, group in groups.items():
            if len(group) == 1:
                said[group[0]] = clean
                continue
            shown = ", ".join(repr(name) for name in group[:_MOST_SHOWN])
            self.notes.append(f"names that are nearly one are kept apart as they are written: {shown}")
            # "bow" and "bow_(weapon)" become "bow" and "bow (weapon)"; where even these meet another name,
            # all stay as they are written.
            spaced = {name: _spaced(name) for name in group}
            unlike = len(set(spaced.values())) == len(group)
            taken = {other for other in groups if other != clean}
            said |= spaced if unlike and not taken & set(spaced.values()) else {name: name for name in group}
        return said


def _tight(name: str) -> str:
    return " ".join(name.split())
