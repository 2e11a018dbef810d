"""What own data call things, as names of the model's table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from segue.data.own.sources import AnnotationSource
from segue.data.own.things import Thing
from segue.models.mini.names import NameTable

MOST_NAMES = 256
"""The commonest names of the data that a branch learns."""


@dataclass(frozen=True)
class OwnNames:
    """Names of own data.

    Attributes:
        named: things of the data -> names of the table, the commonest first.
        entries: those names for `with_branches`.
        left_out: things beyond `MOST_NAMES`, and those that cannot be spelled.
    """

    named: dict[Thing, str]
    entries: tuple[dict[str, str], ...]
    left_out: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of the branch's readout."""
        return tuple(entry["name"] for entry in self.entries)

    def under(self, wholes: Collection[str]) -> OwnNames:
        """The same, parts of these wholes believed only as far as those are."""
        entries = (e | {"under": e["whole"]} if e.get("whole") in wholes else e for e in self.entries)
        return replace(self, entries=tuple(entries))


def names_of(sources: Sequence[AnnotationSource], table: NameTable) -> OwnNames:
    """The names of some annotated data.

    A name or synonym of the table is that name of the table ("automobile": car); what the table knows as
    something narrower is a name of its own: who annotates beagles does not mean dogs.
    """
    counts: Counter[Thing] = Counter()
    for source in sources:
        for thing, positions in source.catalogue.positions.items():
            counts[thing] += len(positions)
    order = sorted(counts, key=lambda thing: (-counts[thing], thing))
    named: dict[Thing, str] = {}
    entries: dict[str, dict[str, str]] = {}
    left_out = []
    for thing in order:
        entry = _entry(thing, table)
        new = entry["name"] not in entries
        if (new and len(entries) >= MOST_NAMES) or "." in entry["name"].split():
            left_out.append(thing.phrase())
            continue
        named[thing] = entry["name"]
        entries.setdefault(entry["name"], entry)
    return OwnNames(named, tuple(entries.values()), tuple(left_out))


def _entry(thing: Thing, table: NameTable) -> dict[str, str]:
    if not thing.owner:
        return {"name": table_name(thing.name, table)}
    whole = table_name(thing.owner, table)
    return {"name": f"{whole} {thing.name}", "whole": whole, "part": thing.name}


def table_name(word: str, table: NameTable) -> str:
    """The table's name that a word is or is a synonym of; the word itself where there is none."""
    word = " ".join(word.split())
    found = table.find(word)
    if found is None or word in table.names[found].narrower:
        return word
    # What is a part in the table ("hair") is one because of its whole, which the data do not name.
    return found
