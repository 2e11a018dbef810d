"""Where things are, as the viewer sees them."""

from __future__ import annotations

from segue.scenes.questions.answers import Answer, Draft, Mention
from segue.scenes.questions.facts import SIDE_MARGIN, Facts, Thing, beside, nearest
from segue.scenes.questions.functional import scope, things_in
from segue.scenes.questions.registry import opening
from segue.scenes.questions.replies import agree, in_one, mentions, part_name
from segue.scenes.questions.topics import resolve, superlative
from segue.scenes.questions.wording import SUPERLATIVES, Speaker, be, is_plural_part

SIDE_WORDS = {
    "left": "[to the left of|left of|on the left of]",
    "right": "[to the right of|right of|on the right of]",
    "above": "[above|higher up than|further up than]",
    "below": "[below|lower down than|further down than]",
}
NOTHING_THERE = "There is nothing there"


def choose_side(say: Speaker) -> str:
    """Choose a side, left and right twice as often as above and below."""
    return say.rng.choice(("left", "right", "left", "right", "above", "below"))


def choose_anchor(facts: Facts, say: Speaker, image_index: int, least: int = 2) -> tuple[Thing, str] | None:
    """Choose a thing to ask from and how to call it: "red mug", or "mug" where there is only one."""
    things = facts.images[image_index]
    anchors = [thing for thing in things if facts.is_unique(thing)]
    if len(things) < least or not anchors:
        return None
    anchor = say.rng.choice(anchors)
    by_kind = len(facts.of_kind(anchor.kind, image_index)) == 1 and say.rng.random() < 0.5
    return anchor, anchor.kind if by_kind else anchor.obj.phrase


@opening("spatial", "object", 1.8)
def superlative_thing(facts: Facts, say: Speaker) -> Draft | None:
    """What is the leftmost thing in each image?"""
    i = scope(facts, say)
    which = say.rng.choice(tuple(SUPERLATIVES))
    topic = ("superlative", which)
    answer = resolve(facts, topic, i)
    if answer is None:
        return None
    question = say.ask(
        "[what|which] is the {which} [thing|object|item] {where}",
        "{where}, which [thing|object] is the {which} one",
        "[show|find|point out] the {which} [thing|object] {where}",
        "which [thing|object] is the {which} {where}",
        "name the {which} [thing|object|item] {where}",
        "{where}, [show|find] the {which} [thing|object|item]",
        "~what do you see as the {which} [thing|object] {where}",
        "~the {which} [thing|object] {where}, what is it",
        which=say.pick(SUPERLATIVES[which]),
        where=say.where(i, facts.num_images),
    )
    return Draft(question, answer, topic, i)


@opening("spatial", "object", 1.4)
def beside_thing(facts: Facts, say: Speaker) -> Draft | None:
    """What is to the left of the red mug in image 1?"""
    i, side = say.rng.randrange(facts.num_images), choose_side(say)
    chosen = choose_anchor(facts, say, i)
    if chosen is None:
        return None
    anchor, name = chosen
    found = beside(anchor, facts.images[i], side)
    # Most questions with an empty answer are dropped, so that they stay rare.
    if found is None or (not found and say.rng.random() < 0.75):
        return None
    question = say.ask(
        "what is {side} the {thing} {where}",
        "{where}, what is {side} the {thing}",
        "[which things are|what do you see|what is there] {side} the {thing} {where}",
        "[show|find|point out] what is {side} the {thing} {where}",
        "what lies {side} the {thing} {where}",
        "[name|list] everything {side} the {thing} {where}",
        "~looking at the {thing} {where}, what is {side} it",
        side=say.pick(SIDE_WORDS[side]),
        thing=name,
        where=say.in_image(i, facts.num_images),
    )
    return Draft(question, in_one(i, mentions(found), "there (is)", NOTHING_THERE))


@opening("spatial", "object", 0.8)
def nearest_thing(facts: Facts, say: Speaker) -> Draft | None:
    """What is closest to the red mug in image 1?"""
    i = say.rng.randrange(facts.num_images)
    chosen = choose_anchor(facts, say, i, least=3)
    if chosen is None:
        return None
    anchor, name = chosen
    found = nearest(anchor, facts.images[i])
    if found is None:
        return None
    question = say.ask(
        "[what|which thing|which object] is [closest|nearest] to the {thing} {where}",
        "{where}, [what|which thing] is [closest|nearest] to the {thing}",
        "[show|find] the [thing|object] [closest|nearest] to the {thing} {where}",
        "what is just next to the {thing} {where}",
        "which [thing|object] {where} is the nearest to the {thing}",
        "what is the nearest [thing|neighbour] of the {thing} {where}",
        "~starting at the {thing} {where}, what do you reach first",
        thing=name,
        where=say.in_image(i, facts.num_images),
    )
    return Draft(question, in_one(i, mentions([found]), "(it is)"))


@opening("spatial", "object")
def place_of_kind(facts: Facts, say: Speaker) -> Draft | None:
    """Where is the mug in image 1?"""
    i = say.rng.randrange(facts.num_images)
    # One of its kind in the image, since the question names the kind alone.
    single = [thing for thing in facts.images[i] if len(facts.of_kind(thing.kind, i)) == 1 and _place(thing)]
    if not single:
        return None
    thing = say.rng.choice(single)
    question = say.ask(
        "where is the {kind} {where}",
        "{where}, where is the {kind}",
        "[locate|show me] the {kind} {where}, where is it",
        "on which side is the {kind} {where}",
        "is the {kind} {where} on the left, in the middle or on the right",
        "where [can you see|do you see] the {kind} {where}",
        "~at what place is the {kind} {where}",
        kind=thing.kind,
        where=say.in_image(i, facts.num_images),
    )
    verb = be(Mention(thing).is_plural)
    answer = Answer(f"In image {i + 1}, the ", Mention(thing), f" {verb} {_place(thing)}.")
    return Draft(agree(question, thing.kind), answer)


def _place(thing: Thing) -> str | None:
    if thing.x < 0.36:
        return "on the left"
    if thing.x > 0.64:
        return "on the right"
    # Gaps between left, middle and right: a mug at 0.4 is not asked for.
    return "in the middle" if 0.42 < thing.x < 0.58 else None


@opening("spatial", "object", 0.7)
def side_of_kind(facts: Facts, say: Speaker) -> Draft | None:
    """Is the mug left or right of the lamp in image 1?"""
    i = say.rng.randrange(facts.num_images)
    single = [thing for thing in facts.images[i] if len(facts.of_kind(thing.kind, i)) == 1]
    if len(single) < 2:
        return None
    one, other = say.rng.sample(single, 2)
    if abs(one.x - other.x) <= SIDE_MARGIN:
        return None
    question = say.ask(
        "is the {one} left or right of the {other} {where}",
        "{where}, is the {one} to the left or to the right of the {other}",
        "on which side of the {other} is the {one} {where}",
        "{where}, on which side of the {other} is the {one}",
        "is the {one} {where} to the right or to the left of the {other}",
        "compare the places of the {one} and the {other} {where}",
        "~how do the {one} and the {other} stand to each other {where}",
        one=one.kind,
        other=other.kind,
        where=say.in_image(i, facts.num_images),
    )
    verb, side = be(Mention(one).is_plural), "left" if one.x < other.x else "right"
    answer = Answer(
        f"In image {i + 1}, the ", Mention(one), f" {verb} to the {side} of the ", Mention(other), "."
    )
    return Draft(agree(question, one.kind), answer)


def part_slots(part: str) -> dict[str, str]:
    """Return what a pattern needs to speak of a part: ``{part} {a_part} {is_} {it}``."""
    plural = is_plural_part(part)
    return {"part": part, "a_part": part_name(part), "is_": be(plural), "it": "them" if plural else "it"}


@opening("spatial", "part", 1.4)
def part_of_superlative(facts: Facts, say: Speaker) -> Draft | None:
    """Show the handle of the leftmost thing in image 1."""
    i = say.rng.randrange(facts.num_images)
    which = say.rng.choice(tuple(SUPERLATIVES))
    thing = superlative(facts.images[i], which)
    if thing is None or not thing.parts:
        return None
    part = say.rng.choice(thing.parts)
    question = say.ask(
        "[show|find|point out|mark] the {part} of the {which} [thing|object] {where}",
        "where {is_} the {part} of the {which} [thing|object] {where}",
        "{where}, [show|find] the {part} of the {which} [thing|object|item]",
        "[segment|highlight|outline] the {part} of the {which} [thing|object] {where}",
        "the {which} [thing|object] {where} has {a_part}, [show|find|mark] {it}",
        "can you [show|find|mark] the {part} of the {which} [thing|object] {where}",
        "~look at the {which} [thing|object] {where} and show its {part}",
        which=say.pick(SUPERLATIVES[which]),
        where=say.in_image(i, facts.num_images),
        **part_slots(part),
    )
    return Draft(question, in_one(i, [Mention(thing, part)], "(it is)"))


@opening("spatial", "part")
def superlative_with_part(facts: Facts, say: Speaker) -> Draft | None:
    """Of the things with a handle in image 1, show that of the leftmost one."""
    i = say.rng.randrange(facts.num_images)
    parts = [part for part in facts.parts_in(i) if len(facts.with_part(part, i)) > 1]
    if not parts:
        return None
    part, which = say.rng.choice(parts), say.rng.choice(tuple(SUPERLATIVES))
    thing = superlative(facts.with_part(part, i), which)
    if thing is None or facts.is_unclear(part, i):
        return None
    question = say.ask(
        "[show|find|point out] the {part} of the {which} [thing|object] with {a_part} {where}",
        "{where}, of the things with {a_part} take the {which} one: where {is_} its {part}",
        "where {is_} the {part} of the {which} [thing|object] with {a_part} {where}",
        "[segment|highlight|mark] the {part} of the {which} object that has {a_part} {where}",
        "among the things with {a_part} {where}, show the {part} of the {which} one",
        "can you find the {part} of the {which} [thing|object] that has {a_part} {where}",
        "~several things {where} have {a_part}, show what the {which} one has",
        which=say.pick(SUPERLATIVES[which]),
        where=say.in_image(i, facts.num_images),
        **part_slots(part),
    )
    return Draft(question, in_one(i, [Mention(thing, part)], "(it is)"))


@opening("spatial", "part")
def part_beside_thing(facts: Facts, say: Speaker) -> Draft | None:
    """Show the handle of the thing to the left of the red mug in image 1."""
    i, side = say.rng.randrange(facts.num_images), say.rng.choice(tuple(SIDE_WORDS))
    chosen = choose_anchor(facts, say, i)
    found = beside(chosen[0], facts.images[i], side) if chosen else None
    if chosen is None or found is None or len(found) != 1 or not found[0].parts:
        return None
    part = say.rng.choice(found[0].parts)
    question = say.ask(
        "[show|find|point out] the {part} of the [thing|object] {side} the {thing} {where}",
        "where {is_} the {part} of what is {side} the {thing} {where}",
        "{where}, [show|find|mark] the {part} of the [thing|object] {side} the {thing}",
        "[segment|highlight] the {part} of the [thing|object] that is {side} the {thing} {where}",
        "the [thing|object] {side} the {thing} {where} has {a_part}, [show|find] {it}",
        "can you find the {part} of the [thing|object] {side} the {thing} {where}",
        "~go from the {thing} {where} to what is {side} it and show its {part}",
        side=say.pick(SIDE_WORDS[side]),
        thing=chosen[1],
        where=say.in_image(i, facts.num_images),
        **part_slots(part),
    )
    return Draft(question, in_one(i, [Mention(found[0], part)], "(it is)"))


@opening("spatial", "part")
def largest_part_of_kind(facts: Facts, say: Speaker) -> Draft | None:
    """What is the largest part of the mug in each image?"""
    i = scope(facts, say)
    things = things_in(facts, i)
    if not things:
        return None
    kind = say.rng.choice(things).kind
    topic = ("largest_part", kind)
    answer = resolve(facts, topic, i)
    if answer is None:
        return None
    question = say.ask(
        "what is the [largest|biggest] part of the {kind} {where}",
        "{where}, which part of the {kind} is the [largest|biggest]",
        "[show|find|point out] the [largest|biggest] part of the {kind} {where}",
        "which part of the {kind} takes up the most space {where}",
        "which part of the {kind} can you see most of {where}",
        "{where}, [show|find] the [largest|biggest] part of the {kind}",
        "~which part makes up most of the {kind} {where}",
        kind=kind,
        where=say.where(i, facts.num_images),
    )
    return Draft(question, answer, topic, i)
