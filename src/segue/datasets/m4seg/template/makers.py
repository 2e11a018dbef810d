"""Rules that make one question with its answer, or None where the facts do not carry it.

Every answer names something in every image. Source: the four kinds are those of PRIMA's newer version; the
questions are ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from segue.data.language import english
from segue.datasets.m4seg.listing import ListedRegion
from segue.datasets.m4seg.template import wordings as w
from segue.datasets.m4seg.template.facts import SetFacts
from segue.datasets.m4seg.template.words import (
    a,
    be,
    by_image,
    counted,
    image,
    images,
    pick,
    the,
    these,
    verb,
)

Rng = np.random.Generator
MOST_NAMED = 4
"""Regions named of one image; three images then stay below 16 masks."""
_CLEARLY = 1.3  # ratio from which on one share of the picture is plainly larger than another


@dataclass(frozen=True)
class Made:
    """A question, its answer with identifiers, and what it is about, so that a set asks each thing once."""

    question: str
    answer: str
    about: str


Maker = Callable[[SetFacts, Rng], Made | None]


def _some(rng: Rng, names: list[str]) -> str | None:
    return pick(rng, names) if names else None


def _all(names: str) -> str:
    return english.plural(names) if english.is_countable(names) else names


# ---- numerical ---------------------------------------------------------------------------------------------


def count(facts: SetFacts, rng: Rng) -> Made | None:
    """How many of a kind each image shows."""
    fit = [
        shared
        for shared in facts.shared(objects=True)
        if facts.may_count(shared) and all(len(facts.entries(shared, i)) <= 5 for i in facts.images)
    ]
    name = _some(rng, fit)
    if name is None:
        return None
    found = [facts.entries(name, i) for i in facts.images]
    numbers = [len(entries) for entries in found]
    shows = [
        f"{image(i)} {pick(rng, ('shows', 'has', 'contains'))} {counted(entries)}"
        for i, entries in enumerate(found)
    ]
    there = [f"there {be(name, len(entries))} {counted(entries)}" for entries in found]
    body = by_image(rng, there) if rng.random() < 0.5 else f"{english.listed(shows)}."
    return Made(
        pick(rng, w.COUNT).format(xs=english.plural(name)),
        f"{body} {_most(rng, name, numbers)}",
        f"count {name}",
    )


def _most(rng: Rng, name: str, numbers: list[int]) -> str:
    many = english.plural(name)
    best = [i for i, number in enumerate(numbers) if number == max(numbers)]
    if len(best) == len(numbers):
        return pick(rng, w.SAME_NUMBER).format(xs=many, all="both" if len(numbers) == 2 else "all")
    if len(best) > 1:
        return f"The most {many} are in {images(best)}."
    return pick(rng, w.MOST).format(xs=many, k=image(best[0]), total=sum(numbers))


def larger(facts: SetFacts, rng: Rng) -> Made | None:
    """In which image something fills more of the picture."""
    fit = []
    for shared in facts.shared():
        shares = sorted((facts.share(facts.entries(shared, i)) for i in facts.images), reverse=True)
        if shares[0] >= _CLEARLY * shares[1] and shares[0] >= 0.01:
            fit.append(shared)
    name = _some(rng, fit)
    if name is None:
        return None
    first = [facts.entries(name, i)[0] for i in facts.images]
    parts = [
        f"{the(e)} {verb(name, 'fills', 'fill')} {_percent(facts.share([e]))} of the picture" for e in first
    ]
    best = max(facts.images, key=lambda i: facts.share([first[i]]))
    end = pick(rng, w.LARGER_END).format(x=name, k=image(best), be=be(name))
    question = pick(rng, w.LARGER).format(x=name, does=verb(name, "does", "do"), be=be(name))
    return Made(question, f"{by_image(rng, parts)} {end}", f"share {name}")


def _percent(share: float) -> str:
    if share < 0.01:
        return "less than one percent"
    return f"about {round(100 * share)} percent"


def largest(facts: SetFacts, rng: Rng) -> Made | None:
    """Ask what fills most of each picture, and how much of it."""
    clauses, shares = [], []
    for i in facts.images:
        things = sorted(facts.listing.objects(i), key=lambda entry: -entry.region.area)
        if not things or (len(things) > 1 and things[0].region.area < _CLEARLY * things[1].region.area):
            return None
        share = facts.share(things[:1])
        shares.append(share)
        fills = verb(things[0].name, "fills", "fill")
        clauses.append(f"{the(things[0])} {fills} {_percent(share)} of the picture")
    ordered = sorted(shares, reverse=True)
    if ordered[0] < _CLEARLY * ordered[1]:
        return None
    end = pick(rng, w.LARGEST_END).format(k=image(int(np.argmax(shares))))
    return Made(pick(rng, w.LARGEST), f"{by_image(rng, clauses)} {end}", "largest")


def most_parts(facts: SetFacts, rng: Rng) -> Made | None:
    """In which image an object shows more of its parts."""
    fit = []
    for shared in facts.shared(objects=True):
        numbers = [len(facts.parts(facts.entries(shared, i)[0])) for i in facts.images]
        if min(numbers) and sorted(numbers)[-1] > sorted(numbers)[-2] and max(numbers) <= 5:
            fit.append(shared)
    name = _some(rng, fit)
    if name is None:
        return None
    clauses, numbers = [], []
    for i in facts.images:
        thing = facts.entries(name, i)[0]
        parts = facts.parts(thing)
        numbers.append(len(parts))
        clauses.append(
            f"{_part_count(len(parts))} of {the(thing)} {be('', len(parts))} marked: {_bare(parts)}"
        )
    best = int(np.argmax(numbers))
    return Made(
        pick(rng, w.MOST_PARTS).format(x=name, xs=_all(name)),
        f"{by_image(rng, clauses)} {pick(rng, w.MOST_PARTS_END).format(x=name, k=image(best))}",
        f"parts of {name}",
    )


def _part_count(number: int) -> str:
    return f"{english.number(number)} part{'s' if number > 1 else ''}"


def _bare(parts: list[ListedRegion]) -> str:
    return english.listed([f"the {part.region.name} {part.code}" for part in parts])


# ---- spatial -----------------------------------------------------------------------------------------------


def places(facts: SetFacts, rng: Rng) -> Made | None:
    """Where in the picture something is."""
    name = _some(rng, facts.shared())
    if name is None:
        return None
    first = [facts.entries(name, i)[0] for i in facts.images]
    stand = pick(rng, ("{be}", "{appears}", "{can} be seen"))
    said = stand.format(be=be(name), appears=verb(name, "appears", "appear"), can="can")
    where = [facts.place(entry) for entry in first]
    clauses = [f"{the(entry)} {said} {place}" for entry, place in zip(first, where, strict=True)]
    end = ""
    if len(set(where)) == 1:
        end = " " + pick(rng, w.SAME_PLACE)
    elif len(set(where)) == len(where):
        end = " " + pick(rng, w.OTHER_PLACE)
    question = pick(rng, w.PLACES).format(x=name, be=be(name), does=verb(name, "does", "do"))
    return Made(question, by_image(rng, clauses) + end, f"place {name}")


def relations(facts: SetFacts, rng: Rng) -> Made | None:
    """How two things lie to each other in each image."""
    shared = facts.shared()
    pairs = [(x, y) for x in shared for y in shared if x != y]
    for n in rng.permutation(len(pairs)).tolist()[:40]:
        first, second = pairs[n]
        clauses, said = [], []
        for i in facts.images:
            one, other = facts.entries(first, i), facts.entries(second, i)
            relation = facts.relation(one[0], other[0]) if len(one) == len(other) == 1 else None
            if relation is None:
                break
            said.append(relation)
            clauses.append(f"{the(one[0])} {be(first)} {relation} {the(other[0])}")
        if len(clauses) < len(facts.images):
            continue
        end = pick(rng, w.SAME_RELATION if len(set(said)) == 1 else w.OTHER_RELATION)
        question = pick(rng, w.RELATIONS).format(x=first, y=second, be=be(first))
        return Made(question, f"{by_image(rng, clauses)} {end}", f"relation {first} {second}")
    return None


def beside(facts: SetFacts, rng: Rng) -> Made | None:
    """Ask what lies to one side of something that every image shows."""
    fits = [name for name in facts.shared() if all(len(facts.entries(name, i)) == 1 for i in facts.images)]
    for n in rng.permutation(len(fits)).tolist():
        anchor = fits[n]
        for relation in ("to the left of", "to the right of", "above", "below"):
            found = [_related(facts, i, anchor, relation) for i in facts.images]
            if not all(found):
                continue
            clauses = []
            for i, others in enumerate(found):
                chosen = others[: int(rng.integers(1, 3))]
                names = english.listed([the(entry) for entry in chosen])
                verb_ = be(chosen[0].name, len(chosen))
                clauses.append(f"{names} {verb_} {relation} {the(facts.entries(anchor, i)[0])}")
            question = pick(rng, w.BESIDE).format(x=anchor, where=relation)
            return Made(question, by_image(rng, clauses), f"beside {anchor}")
    return None


def _related(facts: SetFacts, index: int, anchor: str, relation: str) -> list[ListedRegion]:
    thing = facts.entries(anchor, index)[0]
    names = [name for name in facts.names(index) if name != anchor]
    single = [entries[0] for name in names if len(entries := facts.entries(name, index)) == 1]
    found = [entry for entry in single if facts.relation(entry, thing) == relation]
    return sorted(found, key=lambda entry: (-entry.region.area, entry.code))


def on_one_side(facts: SetFacts, rng: Rng) -> Made | None:
    """Ask what can be found in one region of each picture."""
    for n in rng.permutation(len(w.SIDES)).tolist():
        words = w.SIDES[n]
        found = [
            [entry for entry in facts.listing.of_image(i) if words in facts.place(entry)]
            for i in facts.images
        ]
        if all(found):
            clauses = []
            for entries in found:
                several = _one_name(rng, entries)[:2]
                verb_ = be(several[0].name, len(several))
                clauses.append(
                    f"{these(several)} {verb_} {'on' if words in ('left', 'right') else 'at'} the {words}"
                )
            return Made(pick(rng, w.ON_ONE_SIDE).format(side=words), by_image(rng, clauses), f"side {words}")
    return None


# ---- functional --------------------------------------------------------------------------------------------


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
    fit = [(p, [here[p] for here in served]) for p in served[0] if all(p in here for here in served)]
    if not fit:
        return None
    chosen, found = fit[int(rng.integers(len(fit)))]
    clauses = []
    for entries in found:
        several = _one_name(rng, entries)[:MOST_NAMED]
        clauses.append(f"{these(several)} {pick(rng, w.SERVES)} {chosen.to}")
    return Made(pick(rng, w.PURPOSE).format(to=chosen.to), by_image(rng, clauses), f"purpose {chosen.to}")


def _one_name(rng: Rng, entries: list[ListedRegion]) -> list[ListedRegion]:
    name = pick(rng, sorted({entry.name for entry in entries}))
    return [entry for entry in entries if entry.name == name]


def different_purposes(facts: SetFacts, rng: Rng) -> Made | None:
    """Ask what the same object, or others, are for in each image, and by which part."""
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


# ---- open-ended --------------------------------------------------------------------------------------------


def visible_parts(facts: SetFacts, rng: Rng) -> Made | None:
    """Which parts of an object each image shows, and which it shows alone."""
    fit = [
        name
        for name in facts.shared(objects=True)
        if all(facts.parts(facts.entries(name, i)[0]) for i in facts.images)
    ]
    name = _some(rng, fit)
    if name is None:
        return None
    most = min(MOST_NAMED, 15 // len(facts.images) - 1)
    things = [facts.entries(name, i)[0] for i in facts.images]
    clauses = []
    for thing in things:
        parts = facts.parts(thing)
        chosen = [parts[n] for n in sorted(rng.permutation(len(parts))[:most].tolist())]
        clauses.append(
            f"{the(thing)} {verb(name, 'shows', 'show')} {english.listed([the(p) for p in chosen])}"
        )
    question = pick(rng, w.VISIBLE_PARTS).format(x=name, xs=_all(name), be=be(name))
    return Made(question, by_image(rng, clauses), f"visible parts {name}")


def only_one(facts: SetFacts, rng: Rng) -> Made | None:
    """Ask what the images share, and what one of them shows alone."""
    fits = []
    for i in facts.images:
        for name in facts.names(i):
            label = facts.name_of(facts.entries(name, i)[0])
            if all(facts.lacks(label, other) for other in facts.images if other != i):
                fits.append((i, name))
    common = facts.shared()
    if not fits or not common:
        return None
    index, alone = fits[int(rng.integers(len(fits)))]
    shared = pick(rng, common)
    both = english.listed([f"{these(facts.entries(shared, i)[:2])} in {image(i)}" for i in facts.images])
    special = these(facts.entries(alone, index)[:2])
    named = pick(rng, w.SHARED).format(both=both, x=shared)
    end = pick(rng, w.ALONE).format(k=image(index), y=special)
    return Made(pick(rng, w.ONLY_ONE), f"{named} {end}", f"only {alone}")


def contents(facts: SetFacts, rng: Rng) -> Made | None:
    """Ask what each image shows, for a comparison of the scenes as a whole."""
    clauses = []
    for i in facts.images:
        names = facts.names(i, objects=True)
        chosen = [names[n] for n in sorted(rng.permutation(len(names))[:3].tolist())]
        if not chosen:
            return None
        groups = [these(facts.entries(name, i)[:2]) for name in chosen]
        total = sum(min(2, len(facts.entries(name, i))) for name in chosen)
        clauses.append(f"{english.listed(groups)} {verb(chosen[0], 'stands', 'stand', total)} out")
    if len({frozenset(facts.names(i, objects=True)) for i in facts.images}) < len(facts.images):
        return None
    return Made(pick(rng, w.CONTENTS), by_image(rng, clauses), "contents")


KINDS: dict[str, tuple[Maker, ...]] = {
    "functional": (purpose, different_purposes),
    "spatial": (places, relations, beside, on_one_side),
    "numerical": (count, larger, largest, most_parts),
    "open_ended": (visible_parts, only_one, contents),
}
"""The rules of each kind."""
