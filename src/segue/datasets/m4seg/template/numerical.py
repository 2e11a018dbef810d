"""Numerical questions: how many, how large a share, with the numbers in the answer."""

from __future__ import annotations

import numpy as np

from segue.data.language import english
from segue.datasets.m4seg.listing import ListedRegion
from segue.datasets.m4seg.template import wordings as w
from segue.datasets.m4seg.template.facts import SetFacts
from segue.datasets.m4seg.template.made import CLEARLY, Made, Rng, all_of, some
from segue.datasets.m4seg.template.words import (
    be,
    by_image,
    counted,
    image,
    images,
    pick,
    the,
    verb,
)


def count(facts: SetFacts, rng: Rng) -> Made | None:
    """How many of a kind each image shows."""
    fit = [
        shared
        for shared in facts.shared(objects=True)
        # Five in each of three images are 15 masks, of the 16 that filter (f) allows.
        if facts.may_count(shared) and all(len(facts.entries(shared, i)) <= 5 for i in facts.images)
    ]
    name = some(rng, fit)
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
        # Below one percent no number is told (`_percent`), so the answer would not show why one is larger.
        if shares[0] >= CLEARLY * shares[1] and shares[0] >= 0.01:
            fit.append(shared)
    name = some(rng, fit)
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
        if not things or (len(things) > 1 and things[0].region.area < CLEARLY * things[1].region.area):
            return None
        share = facts.share(things[:1])
        shares.append(share)
        fills = verb(things[0].name, "fills", "fill")
        clauses.append(f"{the(things[0])} {fills} {_percent(share)} of the picture")
    ordered = sorted(shares, reverse=True)
    if ordered[0] < CLEARLY * ordered[1]:
        return None
    end = pick(rng, w.LARGEST_END).format(k=image(int(np.argmax(shares))))
    return Made(pick(rng, w.LARGEST), f"{by_image(rng, clauses)} {end}", "largest")


def most_parts(facts: SetFacts, rng: Rng) -> Made | None:
    """In which image an object shows more of its parts."""
    fit = []
    for shared in facts.shared(objects=True):
        numbers = [len(facts.parts(facts.entries(shared, i)[0])) for i in facts.images]
        # One image alone must have the most. With its object that makes at most 6 masks, and 5 in each of two
        # others: the 16 that filter (f) allows.
        if min(numbers) and sorted(numbers)[-1] > sorted(numbers)[-2] and max(numbers) <= 5:
            fit.append(shared)
    name = some(rng, fit)
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
        pick(rng, w.MOST_PARTS).format(x=name, xs=all_of(name)),
        f"{by_image(rng, clauses)} {pick(rng, w.MOST_PARTS_END).format(x=name, k=image(best))}",
        f"parts of {name}",
    )


def _part_count(number: int) -> str:
    return f"{english.number(number)} part{'s' if number > 1 else ''}"


def _bare(parts: list[ListedRegion]) -> str:
    return english.listed([f"the {part.region.name} {part.code}" for part in parts])
