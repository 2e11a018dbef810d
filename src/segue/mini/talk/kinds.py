"""What findings can be called, and what people ask for instead: synonyms, broader kinds, purposes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property

from segue.data.language import english
from segue.data.own.things import Thing
from segue.models.mini.names import NameTable, name_table


@dataclass(frozen=True)
class Kind:
    """One name.

    Attributes:
        name: as findings carry it: "dog", "dog head".
        thing: as it is spoken of; a part with its owner ("dog's head").
        synonyms: other words for it.
        broader: kinds that it belongs to ("animal").
    """

    name: str
    thing: Thing
    synonyms: tuple[str, ...] = ()
    broader: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kinds:
    """All names.

    Attributes:
        kinds: by name.
        purposes: what one does with a thing ("sit on") to the names that serve it.
    """

    kinds: Mapping[str, Kind]
    purposes: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """In a fixed order."""
        return tuple(self.kinds)

    @cached_property
    def broader(self) -> dict[str, frozenset[str]]:
        """A broader kind to the names that belong to it, itself among them where it is one; at least two."""
        found: dict[str, set[str]] = defaultdict(set)
        for name, kind in self.kinds.items():
            for broad in kind.broader:
                found[broad] |= {name} | ({broad} & self.kinds.keys())
        return {broad: frozenset(found[broad]) for broad in sorted(found) if len(found[broad]) > 1}

    def members(self, name: str) -> frozenset[str]:
        """The names that a name covers: itself, and of "bird" the duck too."""
        return self.broader.get(name, frozenset({name}))

    @cached_property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """An owner to the names of its parts."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, kind in self.kinds.items():
            if kind.thing.owner:
                found[kind.thing.owner].append(name)
        return {owner: tuple(names) for owner, names in found.items()}

    def near(self, name: str) -> set[str]:
        """Names that are easily taken for a name: others of its broader kinds, its parts, parts called alike.

        Of "cow head" that is "horse head"; of "dog" it is "cat", and "dog head" too.
        """
        if name not in self.kinds:
            return set()
        kind = self.kinds[name]
        alike = {other for broad in kind.broader for other in self.broader.get(broad, ())}
        owned = {part for parts in self.parts.values() for part in parts}
        same = {part for part in owned if kind.thing.owner and self.kinds[part].thing.name == kind.thing.name}
        return (alike | same | set(self.parts.get(name, ()))) - {name}

    def thing(self, name: str) -> Thing:
        """How it is spoken of; of a name that is not in the table, as an object."""
        return self.kinds[name].thing if name in self.kinds else Thing(name)

    def forms(self, name: str) -> tuple[str, ...]:
        """All ways in which a name is spoken of: one or several, of one whole or of several."""
        thing = self.thing(name)
        return tuple(thing.phrase(n, m) for n in (1, 2) for m in (1, 2))

    def words(self) -> Iterable[str]:
        """Every word of the table, and plurals: what the vocabulary must hold."""
        for kind in self.kinds.values():
            yield kind.name
            yield from self.forms(kind.name)
            for word in (*kind.synonyms, *kind.broader):
                yield from (word, english.plural(word))
        yield from self.purposes


def kinds_of(table: NameTable) -> Kinds:
    """The kinds of a table of names."""
    kinds = {}
    for name in table.names.values():
        part = bool(name.whole and name.part and name.name == f"{name.whole} {name.part}")
        thing = Thing(name.part or "", name.whole or "") if part else Thing(name.name)
        kinds[name.name] = Kind(name.name, thing, name.synonyms, name.broader)
    known = kinds.keys()
    purposes = {use: frozenset(names) & known for use, names in table.purposes.items()}
    return Kinds(kinds, purposes)


@cache
def known_kinds() -> Kinds:
    """The kinds of the embedded model."""
    return kinds_of(name_table())
