"""Functional questions: what things and their parts are for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from segue.data.language import english
from segue.datasets.m4seg.listing import ListedRegion
from segue.datasets.m4seg.template import wordings as w
from segue.datasets.m4seg.template.facts import SetFacts
from segue.datasets.m4seg.template.made import MOST_NAMED, Made, Rng, one_name
from segue.datasets.m4seg.template.words import (
    a,
    by_image,
    pick,
    the,
    these,
)


@dataclass(frozen=True)
class _Purpose:
    to: str
    names: frozenset[str]
    owners: frozenset[str]


@cache
def _purposes() -> tuple[_Purpose, ...]:
    path = Path(__file__).parents[1] / "purposes.json"
    listed = json.loads(path.read_text(encoding="utf-8"))["purposes"]
    return tuple(_Purpose(p["to"], frozenset(p["names"]), frozenset(p.get("owners", ()))) for p in listed)


@cache
def _purposes_by_name() -> dict[str, list[_Purpose]]:
    return {
        name: [p for p in _purposes() if name in p.names]
        for name in sorted({name for p in _purposes() for name in p.names})
    }


def _purposes_of(facts: SetFacts, entry: ListedRegion) -> list[_Purpose]:
    name = facts.name_of(entry)
    known = _purposes_by_name().get(name.part or name.owner, [])
    return [p for p in known if not p.owners or name.owner in p.owners]


def purpose(facts: SetFacts, rng: Rng) -> Made | None:
    """Ask what in each image serves a purpose, the same in all."""
    served: list[dict[_Purpose, list[ListedRegion]]] = []
    for i in facts.images:
        found_here: dict[_Purpose, list[ListedRegion]] = {}
        for entry in facts.listing.of_image(i):
            for candidate in _purposes_of(facts, entry):
                found_here.setdefault(candidate, []).append(entry)
        served.append(found_here)
    # A purpose must be served in every image: filter (d) wants a mask in each.
    fit = [(p, [here[p] for here in served]) for p in served[0] if all(p in here for here in served)]
    if not fit:
        return None
    chosen, found = fit[int(rng.integers(len(fit)))]
    clauses = []
    for entries in found:
        several = one_name(rng, entries)[:MOST_NAMED]
        clauses.append(f"{these(several)} {pick(rng, w.SERVES)} {chosen.to}")
    return Made(pick(rng, w.PURPOSE).format(to=chosen.to), by_image(rng, clauses), f"purpose {chosen.to}")


def different_purposes(facts: SetFacts, rng: Rng) -> Made | None:
    """Ask what the same object, or others, are for in each image, and by which part."""
    # A use told of an earlier image is not told again: the question asks for different ones.
    clauses, told = [], []
    for i in facts.images:
        useful = [
            (entry, p.to)
            for entry in facts.listing.of_image(i)
            for p in _purposes_of(facts, entry)
            if entry.parent is not None and p.to not in told
        ]
        if not useful:
            return None
        entry, to = useful[int(rng.integers(len(useful)))]
        told.append(to)
        owner = facts.listing.by_code[entry.parent or ""]
        name = entry.region.name
        clauses.append(
            f"{the(owner)} has {a(name) if english.is_countable(name) else name} {entry.code} {to}"
        )
    return Made(pick(rng, w.DIFFERENT_PURPOSES), by_image(rng, clauses), "purposes of parts")
