"""Spatial questions: where things are, and what lies beside what."""

from __future__ import annotations

from segue.data.language import english
from segue.datasets.m4seg.listing import ListedRegion
from segue.datasets.m4seg.template import wordings as w
from segue.datasets.m4seg.template.facts import SetFacts
from segue.datasets.m4seg.template.made import Made, Rng, one_name, some
from segue.datasets.m4seg.template.words import (
    be,
    by_image,
    pick,
    the,
    these,
    verb,
)


def places(facts: SetFacts, rng: Rng) -> Made | None:
    """Where in the picture something is."""
    name = some(rng, facts.shared())
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
            # One of each: with two mugs "the mug" would not say which.
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
    # Only what is there once: "the mug" must not leave open which.
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
                several = one_name(rng, entries)[:2]
                verb_ = be(several[0].name, len(several))
                clauses.append(
                    f"{these(several)} {verb_} {'on' if words in ('left', 'right') else 'at'} the {words}"
                )
            return Made(pick(rng, w.ON_ONE_SIDE).format(side=words), by_image(rng, clauses), f"side {words}")
    return None
