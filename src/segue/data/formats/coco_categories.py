"""The `categories` of a COCO file: names by id, with what is ambiguous kept out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from segue.data.formats.identifiers import identifier
from segue.data.formats.names import NameTable


class Categories:
    """Names of a file's categories.

    Args:
        entries: The list `categories`.

    Attributes:
        names: How each of them is said.
        repeated: Ids that several names bear, with these names: nobody can tell which one is meant.
        unusable: Entries without an id or a name, shortened.
    """

    def __init__(self, entries: Iterable[Any]) -> None:
        found: dict[str, list[str]] = defaultdict(list)
        self.unusable: list[str] = []
        for entry in entries:
            number = identifier(entry.get("id")) if isinstance(entry, Mapping) else None
            name = entry.get("name") if isinstance(entry, Mapping) else None
            text = " ".join(str(name).split()) if isinstance(name, (str, int, float)) else ""
            if number is None or not text:
                self.unusable.append(repr(entry)[:80])
            elif text not in found[number]:
                found[number].append(text)
        self.repeated = {number: tuple(names) for number, names in found.items() if len(names) > 1}
        self._names = {number: names[0] for number, names in found.items() if len(names) == 1}
        self.names = NameTable(name for names in found.values() for name in names)

    def __contains__(self, category_id: Any) -> bool:
        return identifier(category_id) in self._names

    def __iter__(self) -> Iterator[str]:
        """The names, as written."""
        return iter(self._names.values())

    def name(self, category_id: Any) -> str | None:
        """The name as it is written; None for an id that is not listed or ambiguous."""
        return self._names.get(identifier(category_id) or "")

    def key(self, category_id: Any) -> str | None:
        """The name as it is said, "car" or "car:wheel"."""
        name = self.name(category_id)
        return None if name is None else self.names.key(name)

    def possible_keys(self, category_id: Any) -> frozenset[str]:
        """Names that an annotation of this id may show: one, several where the id is repeated, or none."""
        number = identifier(category_id) or ""
        names = self.repeated.get(number) or ((self._names[number],) if number in self._names else ())
        return frozenset(self.names.key(name) for name in names)

    def notes(self) -> list[str]:
        """List what a user should know of the names, one sentence each."""
        said = list(self.names.notes)
        for number, names in self.repeated.items():
            listed = ", ".join(map(repr, names))
            said.append(f"repeated category id {number} stands for {listed}: its annotations are left out")
        ids: dict[str, list[str]] = defaultdict(list)
        for number, name in self._names.items():
            ids[name].append(number)
        said += [f"ids {', '.join(own)} are all called {n!r}" for n, own in ids.items() if len(own) > 1]
        if self.unusable:
            said.append(f"categories without id or name: {'; '.join(self.unusable[:5])}")
        return said
