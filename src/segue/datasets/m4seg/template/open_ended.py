"""Open-ended questions: what images share, what one of them shows alone, what each of them shows."""

from __future__ import annotations

from segue.data.language import english
from segue.datasets.m4seg.template import wordings as w
from segue.datasets.m4seg.template.facts import SetFacts
from segue.datasets.m4seg.template.made import MOST_NAMED, Made, Rng, all_of, some
from segue.datasets.m4seg.template.words import (
    be,
    by_image,
    image,
    pick,
    the,
    these,
    verb,
)


def visible_parts(facts: SetFacts, rng: Rng) -> Made | None:
    """Which parts of an object each image shows, and which it shows alone."""
    fit = [
        name
        for name in facts.shared(objects=True)
        if all(facts.parts(facts.entries(name, i)[0]) for i in facts.images)
    ]
    name = some(rng, fit)
    if name is None:
        return None
    # An equal share of 15 masks for each image, less one for the object itself.
    most = min(MOST_NAMED, 15 // len(facts.images) - 1)
    things = [facts.entries(name, i)[0] for i in facts.images]
    clauses = []
    for thing in things:
        parts = facts.parts(thing)
        chosen = [parts[n] for n in sorted(rng.permutation(len(parts))[:most].tolist())]
        clauses.append(
            f"{the(thing)} {verb(name, 'shows', 'show')} {english.listed([the(p) for p in chosen])}"
        )
    question = pick(rng, w.VISIBLE_PARTS).format(x=name, xs=all_of(name), be=be(name))
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
    # Scenes of the same things do not differ in what they show.
    if len({frozenset(facts.names(i, objects=True)) for i in facts.images}) < len(facts.images):
        return None
    return Made(pick(rng, w.CONTENTS), by_image(rng, clauses), "contents")
