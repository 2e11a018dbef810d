"""What the embedded model can name: everyday names, words that mean them, broader kinds, parts, purposes.

The table is `taxonomies/imagenet_names.json`. Without torch, so that conversations can be drawn up from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources

from segue.errors import InputError

NUM_KINDS = 1000
"""Classes of ImageNet."""


@dataclass(frozen=True)
class Name:
    """One everyday name.

    Attributes:
        name: the word of findings and answers, in the singular unless people say it in the plural (shoes).
        kinds: classes of ImageNet that it folds together; empty where ImageNet has none.
        synonyms: other words for all of it ("couch").
        narrower: words for some of it ("beagle").
        broader: kinds that take it in ("animal"); some are names themselves ("bird").
        trained: a readout learned it from photographs.
        whole, part: of "dog head": "dog" and "head".
    """

    name: str
    kinds: tuple[int, ...] = ()
    synonyms: tuple[str, ...] = ()
    narrower: tuple[str, ...] = ()
    broader: tuple[str, ...] = ()
    trained: bool = False
    whole: str | None = None
    part: str | None = None


@dataclass(frozen=True)
class NameTable:
    """All names in the order of the table, and what leads to them.

    Attributes:
        names: by name.
        purposes: what can be done with a thing ("sit on") -> names that are good for it.
        branches: names that each run on own data taught, in the order of its readout.
        under: parts that own data taught -> wholes that must be there for them to be.
    """

    names: dict[str, Name]
    purposes: dict[str, tuple[str, ...]]
    _words: dict[str, str] = field(repr=False)
    branches: tuple[tuple[str, ...], ...] = ()
    under: dict[str, str] = field(default_factory=dict)

    def find(self, word: str) -> str | None:
        """The name that a word means: itself, a synonym or something narrower; None when nothing is."""
        return self._words.get(" ".join(word.lower().split()))

    def broader(self) -> dict[str, tuple[str, ...]]:
        """Broader kind -> names that belong to it, its own first where it is a name too."""
        kinds: dict[str, list[str]] = {}
        for name in self.names.values():
            for kind in name.broader:
                kinds.setdefault(kind, [kind] if kind in self.names else []).append(name.name)
        return {kind: tuple(members) for kind, members in sorted(kinds.items())}

    def parts_of(self, whole: str) -> tuple[str, ...]:
        """Names of the parts of a thing."""
        return tuple(name.name for name in self.names.values() if name.whole == whole)

    def trained(self) -> tuple[str, ...]:
        """Names that the readouts know, in their order: the model's own, then those of each branch."""
        learned = (name for number in range(len(self.branches)) for name in self.taught(number))
        return (*self.shipped(), *learned)

    def shipped(self) -> tuple[str, ...]:
        """Names that the model's first readout knows, in its order."""
        return tuple(name.name for name in self.names.values() if name.trained)

    def taught(self, number: int) -> tuple[str, ...]:
        """Names for which a branch is asked: those of its readout that none before it knows."""
        before = {*self.shipped(), *(name for branch in self.branches[:number] for name in branch)}
        return tuple(name for name in self.branches[number] if name not in before)

    def block(self, name: str) -> int:
        """Which readout a name is found with: 0 the model's first, k + 1 that of branch k."""
        return self.drawn_by(name)[0]

    def drawn_by(self, name: str) -> tuple[int, ...]:
        """Decoders that draw a name together: that of its readout, and of later branches that learned it."""
        learned = (number + 1 for number, branch in enumerate(self.branches) if name in branch)
        return (0, *learned) if self.names[name].trained else tuple(learned) or (0,)

    def folded(self) -> tuple[str, ...]:
        """Names that the trunk's own classifier knows, in the order of their heats."""
        return tuple(name.name for name in self.names.values() if name.kinds)


@cache
def name_table() -> NameTable:
    """The table of the package, read once.

    Raises:
        InputError: one of its words means two names, or a kind belongs to two.
    """
    path = resources.files("segue") / "taxonomies" / "imagenet_names.json"
    return table_of(json.loads(path.read_text(encoding="utf-8")))


def table_of(content: dict[str, list[dict[str, object]] | dict[str, list[str]]]) -> NameTable:
    """A table from the content of its file, checked; see `name_table`."""
    names: dict[str, Name] = {}
    words: dict[str, str] = {}
    kinds: dict[int, str] = {}
    for entry in content["names"]:
        assert isinstance(entry, dict)
        name = _name(entry)
        names[name.name] = name
        for word in (name.name, *name.synonyms, *name.narrower):
            if words.setdefault(word, name.name) != name.name:
                raise _twice(f"word {word!r}", words[word], name.name)
        for kind in name.kinds:
            if kinds.setdefault(kind, name.name) != name.name:
                raise _twice(f"class {kind}", kinds[kind], name.name)
    members = {kind for name in names.values() for kind in name.broader}
    purposes = content["purposes"]
    assert isinstance(purposes, dict)
    table = NameTable(names, {}, words)
    by_kind = table.broader()
    for purpose, wanted in purposes.items():
        found: list[str] = []
        for word in wanted:
            found += by_kind[word] if word in members else [word]
        table.purposes[purpose] = tuple(dict.fromkeys(found))
    return table


def left_to_trunk(table: NameTable, names: Sequence[str]) -> NameTable:
    """A table in which no readout knows some names, and their parts; only the trunk does.

    Raises:
        InputError: a name that the table lacks, or that the trunk does not know.
    """
    for name in names:
        if name not in table.folded():
            raise InputError(
                "the trunk does not know this name",
                expected="a name of taxonomies/imagenet_names.json with kinds of ImageNet",
                found=repr(name),
                where="left_out",
                fix="leave another one out",
            )
    apart = {*names, *(part for name in names for part in table.parts_of(name))}
    return replace(
        table, names={n: replace(r, trained=r.trained and n not in apart) for n, r in table.names.items()}
    )


def with_branches(table: NameTable, branches: Sequence[Sequence[Mapping[str, str]]]) -> NameTable:
    """A table that also holds what own data brought.

    Args:
        table: without branches.
        branches: for each run on own data its names: `name`, of a part `whole` and `part`, and `under`, the
            whole again, where the part is believed only as far as that is. A name that the table has keeps
            its place there; it is spoken of as a part from then on where own data say so.
    """
    names, words = dict(table.names), dict(table._words)
    for entry in (entry for branch in branches for entry in branch):
        name, whole = entry["name"], entry.get("whole")
        known = names.get(name, Name(name))
        if whole and not known.whole:
            known = replace(known, whole=whole, part=entry["part"])
        names[name] = known
        words[name] = name
    taught = tuple(tuple(entry["name"] for entry in branch) for branch in branches)
    under = {
        entry["name"]: entry["under"]
        for branch in branches
        for entry in branch
        if "under" in entry and not names[entry["name"]].trained
    }
    return replace(table, names=names, _words=words, branches=taught, under=under)


def _name(entry: dict[str, object]) -> Name:
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    given["kinds"] = tuple(_numbers(str(entry.get("kinds", ""))))
    return Name(**given)  # type: ignore[arg-type]


def _numbers(ranges: str) -> Iterator[int]:
    """`"151-153 275"` to 151, 152, 153, 275."""
    for piece in ranges.split():
        first, _, last = piece.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _twice(what: str, first: str, second: str) -> InputError:
    return InputError(
        f"the {what} belongs to two names",
        expected="one name",
        found=f"{first} and {second}",
        where="taxonomies/imagenet_names.json",
        fix="take it from one of them",
    )
