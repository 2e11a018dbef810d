"""Where things are, as the viewer sees them."""

from __future__ import annotations

from segue.data.scenes.questions.answers import Answer, Draft, Mention
from segue.data.scenes.questions.facts import AREA_RATIO, SIDE_MARGIN, Facts, Thing, beside, extreme, largest, nearest, smallest
from segue.data.scenes.questions.registry import opening
from segue.data.scenes.questions.replies import in_each, in_one, mentions, no_such
from segue.data.scenes.questions.topics import OUTERMOST, resolve
from segue.data.scenes.questions.wording import Speaker, be

SIDE_WORDS = {
    "left": "[to the left of|left of|on the left of]",
    "right": "[to the right of|right of|on the right of]",
    "above": "[above|higher up than|further up than]",
    "below": "[below|lower down than|further down than]",
}
EXTREME_WORDS = {
    "left": "[leftmost|leftmost|furthest left]",
    "right": "[rightmost|rightmost|furthest right]",
    "above": "[topmost|highest|uppermost]",
    "below": "[lowest|bottommost|lowest]",
    "largest": "[largest|biggest]",
    "smallest": "[smallest|tiniest]",
}


def superlative(things: list[Thing], which: str) -> Thing | None:
    """Return the leftmost, ..., largest or smallest thing where that is clear."""
    if len(things) < 2:
        return None
    return largest(things) if which == "largest" else smallest(things) if which == "smallest" else extreme(things, which)


def _topic(which: str) -> tuple[str, ...]:
    return (which,) if which in ("largest", "smallest") else ("extreme", which)


@opening("spatial", "object")
def superlative_in_each_image(facts: Facts, say: Speaker) -> Draft | None:
    which = say.rng.choice(tuple(EXTREME_WORDS))
    found = [superlative(things, which) for things in facts.images]
    if any(thing is None for thing in found):
        return None
    question = say.ask(
        "[what|which] is the {which} [thing|object|item] {where}", "{where}, [what|which thing|which object] is the {which} one",
        "[show|find|point out] the {which} [thing|object] {where}", "which [thing|object] is the {which} {where}",
        "name the {which} [thing|object|item] {where}", "{where}, [show|find] the {which} [thing|object|item]",
        "~what do you see as the {which} [thing|object] {where}", "~the {which} [thing|object] {where}, what is it",
        which=say.pick(EXTREME_WORDS[which]), where=say.each_image(facts.num_images),
    )
    answer = in_each(facts, [mentions([thing]) for thing in found if thing], "(it is)", "")
    return Draft(question, answer, _topic(which), 0 if facts.num_images == 1 else None)


@opening("spatial", "object", 0.8)
def superlative_in_one_image(facts: Facts, say: Speaker) -> Draft | None:
    i = say.rng.randrange(facts.num_images)
    which = say.rng.choice(tuple(EXTREME_WORDS))
    if superlative(facts.images[i], which) is None:
        return None
    question = say.ask(
        "[what|which] is the {which} [thing|object|item] {where}", "{where}, [what|which thing|which object] is the {which} one",
        "[show|find|point out] the {which} [thing|object] {where}", "which [thing|object] is the {which} {where}",
        "name the {which} [thing|object|item] {where}", "what do you see as the {which} [thing|object] {where}",
        "~the {which} [thing|object] {where}, what is it", which=say.pick(EXTREME_WORDS[which]), where=say.in_image(i, facts.num_images),
    )
    answer = resolve(facts, _topic(which), i)
    return None if answer is None else Draft(question, answer, _topic(which), i)


@opening("spatial", "object", 1.4)
def beside_thing(facts: Facts, say: Speaker) -> Draft | None:
    i = say.rng.randrange(facts.num_images)
    anchors = [thing for thing in facts.images[i] if facts.is_unique(thing)]
    if len(facts.images[i]) < 2 or not anchors:
        return None
    anchor, side = say.rng.choice(anchors), say.rng.choice(("left", "right", "left", "right", "above", "below"))
    found = beside(anchor, facts.images[i], side)
    if found is None or (not found and say.rng.random() < 0.6):
        return None
    by_kind = len(facts.of_kind(anchor.kind, i)) == 1 and say.rng.random() < 0.5
    question = say.ask(
        "what is {side} the {thing} {where}", "{where}, what is {side} the {thing}",
        "[which things are|what do you see|what is there] {side} the {thing} {where}", "[show|find|point out] what is {side} the {thing} {where}",
        "what lies {side} the {thing} {where}", "[name|list] everything {side} the {thing} {where}",
        "~looking at the {thing} {where}, what is {side} it", side=say.pick(SIDE_WORDS[side]),
        thing=anchor.kind if by_kind else anchor.obj.phrase, where=say.in_image(i, facts.num_images),
    )
    answer = in_one(i, mentions(found), "there (is)", "There is nothing there")
    return Draft(question, answer)


@opening("spatial", "object", 0.8)
def nearest_thing(facts: Facts, say: Speaker) -> Draft | None:
    i = say.rng.randrange(facts.num_images)
    anchors = [thing for thing in facts.images[i] if facts.is_unique(thing)]
    if len(facts.images[i]) < 3 or not anchors:
        return None
    anchor = say.rng.choice(anchors)
    found = nearest(anchor, facts.images[i])
    if found is None:
        return None
    by_kind = len(facts.of_kind(anchor.kind, i)) == 1 and say.rng.random() < 0.5
    question = say.ask(
        "[what|which thing|which object] is [closest|nearest] to the {thing} {where}", "{where}, [what|which thing] is [closest|nearest] to the {thing}",
        "[show|find] the [thing|object] [closest|nearest] to the {thing} {where}", "what is right next to the {thing} {where}",
        "which [thing|object] {where} is the nearest to the {thing}", "what is the nearest [thing|neighbour] of the {thing} {where}",
        "~starting at the {thing} {where}, what do you reach first", thing=anchor.kind if by_kind else anchor.obj.phrase,
        where=say.in_image(i, facts.num_images),
    )
    return Draft(question, in_one(i, mentions([found]), "(it is)", ""))


@opening("spatial", "object")
def where_is_kind(facts: Facts, say: Speaker) -> Draft | None:
    i = say.rng.randrange(facts.num_images)
    thing = say.rng.choice(facts.images[i]) if facts.images[i] else None
    if thing is None or len(facts.of_kind(thing.kind, i)) != 1:
        return None
    place = _place(thing)
    if place is None:
        return None
    question = say.ask(
        "where is the {kind} {where}", "{where}, where is the {kind}", "[find|locate|show me] the {kind} {where}, where is it",
        "on which side is the {kind} {where}", "is the {kind} {where} on the left, in the middle or on the right",
        "where [can you see|do you see] the {kind} {where}", "~at what place is the {kind} {where}",
        kind=thing.kind, where=say.in_image(i, facts.num_images),
    )
    if thing.kind == "scissors":
        question = question.replace(" is the scissors", " are the scissors").replace("Is the scissors", "Are the scissors")
        question = question.replace("is it", "are they").replace("is the scissors", "are the scissors")
    mention = Mention(thing)
    return Draft(question, Answer(f"In image {i + 1}, the ", mention, f" {be(mention.is_plural)} {place}."))


def _place(thing: Thing) -> str | None:
    if thing.x < 0.36:
        return "on the left"
    if thing.x > 0.64:
        return "on the right"
    return "in the middle" if 0.42 < thing.x < 0.58 else None


@opening("spatial", "object", 0.7)
def kind_on_which_side(facts: Facts, say: Speaker) -> Draft | None:
    i = say.rng.randrange(facts.num_images)
    single = [thing for thing in facts.images[i] if len(facts.of_kind(thing.kind, i)) == 1]
    if len(single) < 2:
        return None
    one, other = say.rng.sample(single, 2)
    if abs(one.x - other.x) <= SIDE_MARGIN:
        return None
    question = say.ask(
        "{is_} the {one} left or right of the {other} {where}", "{where}, {is_} the {one} to the left or to the right of the {other}",
        "on which side of the {other} {is_} the {one} {where}", "which is further left {where}, the {one} or the {other}",
        "{where}, which one is further left: the {one} or the {other}", "compare the places of the {one} and the {other} {where}",
        "~how do the {one} and the {other} stand to each other {where}", is_=be(one.kind == "scissors"), one=one.kind, other=other.kind,
        where=say.in_image(i, facts.num_images),
    )
    side = "left" if one.x < other.x else "right"
    if "further left" in question and side == "right":
        one, other, side = other, one, "left"
    mention = Mention(one)
    return Draft(question, Answer(f"In image {i + 1}, the ", mention, f" {be(mention.is_plural)} to the {side} of the ", Mention(other), "."))


@opening("spatial", "part", 1.3)
def part_of_superlative(facts: Facts, say: Speaker) -> Draft | None:
    i = say.rng.randrange(facts.num_images)
    which = say.rng.choice(tuple(EXTREME_WORDS))
    thing = superlative(facts.images[i], which)
    if thing is None or not thing.parts:
        return None
    part = say.rng.choice(thing.parts)
    question = say.ask(
        "[show|find|point out|mark] the {part} of the {which} [thing|object] {where}", "where {is_} the {part} of the {which} [thing|object] {where}",
        "{where}, [show|find] the {part} of the {which} [thing|object|item]", "[segment|highlight|outline] the {part} of the {which} [thing|object] {where}",
        "the {which} [thing|object] {where} has {a_part}, where {is_} {it}", "which {is_} the {part} of the {which} [thing|object] {where}",
        "~look at the {which} [thing|object] {where} and show its {part}", part=part, is_=be(part.endswith("s")), it="they" if part.endswith("s") else "it",
        a_part=_a(part), which=say.pick(EXTREME_WORDS[which]), where=say.in_image(i, facts.num_images),
    )
    return Draft(question, in_one(i, [Mention(thing, part)], "(it is)", ""))


def _a(part: str) -> str:
    return part if part.endswith("s") else f"a {part}"


@opening("spatial", "part")
def superlative_with_part(facts: Facts, say: Speaker) -> Draft | None:
    i = say.rng.randrange(facts.num_images)
    parts = [part for part in dict.fromkeys(p for t in facts.images[i] for p in t.parts) if len(facts.with_part(part, i)) > 1]
    if not parts:
        return None
    part, which = say.rng.choice(parts), say.rng.choice(tuple(EXTREME_WORDS))
    thing = superlative(facts.with_part(part, i), which)
    if thing is None or facts.has_hidden(part, i):
        return None
    question = say.ask(
        "[show|find|point out] the {part} of the {which} thing that has {a_part} {where}", "{where}, of the things with {a_part} take the {which} one: where {is_} its {part}",
        "which {is_} the {part} of the {which} [thing|object] with {a_part} {where}", "[segment|highlight|mark] the {part} of the {which} object with {a_part} {where}",
        "among the things with {a_part} {where}, show the {part} of the {which} one", "where {is_} the {part} of the {which} [thing|object] with {a_part} {where}",
        "~several things {where} have {a_part}, show that of the {which} one", part=part, a_part=_a(part), is_=be(part.endswith("s")),
        which=say.pick(EXTREME_WORDS[which]), where=say.in_image(i, facts.num_images),
    )
    return Draft(question, in_one(i, [Mention(thing, part)], "(it is)", ""))


@opening("spatial", "part")
def part_beside_thing(facts: Facts, say: Speaker) -> Draft | None:
    i = say.rng.randrange(facts.num_images)
    anchors = [thing for thing in facts.images[i] if facts.is_unique(thing)]
    if len(facts.images[i]) < 2 or not anchors:
        return None
    anchor, side = say.rng.choice(anchors), say.rng.choice(tuple(SIDE_WORDS))
    found = beside(anchor, facts.images[i], side)
    if found is None or len(found) != 1 or not found[0].parts:
        return None
    part = say.rng.choice(found[0].parts)
    question = say.ask(
        "[show|find|point out] the {part} of the [thing|object] {side} the {thing} {where}", "where {is_} the {part} of what is {side} the {thing} {where}",
        "{where}, [show|find|mark] the {part} of the [thing|object] {side} the {thing}", "[segment|highlight] the {part} of the [thing|object] that is {side} the {thing} {where}",
        "the [thing|object] {side} the {thing} {where} has {a_part}, show {it}", "which {is_} the {part} of the [thing|object] {side} the {thing} {where}",
        "~go from the {thing} {where} to what is {side} it and show its {part}", part=part, a_part=_a(part), it="them" if part.endswith("s") else "it",
        is_=be(part.endswith("s")), side=say.pick(SIDE_WORDS[side]), thing=anchor.obj.phrase, where=say.in_image(i, facts.num_images),
    )
    return Draft(question, in_one(i, [Mention(found[0], part)], "(it is)", ""))


@opening("spatial", "part")
def largest_part_of_kind(facts: Facts, say: Speaker) -> Draft | None:
    kind = say.rng.choice(facts.kinds) if facts.kinds else ""
    found: list[list[Mention]] = []
    for i in range(facts.num_images):
        parts = [largest_part(thing) for thing in facts.of_kind(kind, i)]
        if any(part is None for part in parts):
            return None
        found.append([Mention(thing, part) for thing, part in zip(facts.of_kind(kind, i), parts, strict=True)])
    if not any(found):
        return None
    question = say.ask(
        "[what|which] is the [largest|biggest] part of the {kind} {where}", "{where}, which part of the {kind} is the [largest|biggest]",
        "[show|find|point out] the [largest|biggest] part of the {kind} {where}", "which part of the {kind} takes up the most space {where}",
        "which part of the {kind} can you see most of {where}", "{where}, [show|find] the [largest|biggest] part of the {kind}",
        "~which part makes up most of the {kind} {where}", kind=kind, where=say.each_image(facts.num_images),
    )
    return Draft(question, in_each(facts, found, "(it is)", no_such(kind)))


def largest_part(thing: Thing) -> str | None:
    """Return the part that clearly covers most, or None."""
    ranked = sorted(thing.parts, key=lambda part: -thing.obj.part_areas[part])
    if not ranked:
        return None
    clear = len(ranked) == 1 or thing.obj.part_areas[ranked[0]] > AREA_RATIO * thing.obj.part_areas[ranked[1]]
    return ranked[0] if clear else None
