"""Follow-ups about what the last answer named: "what is right of it?", "how many of them are there?"."""

from __future__ import annotations

from segue.scenes.kinds import KINDS
from segue.scenes.questions.answers import Draft, Mention
from segue.scenes.questions.facts import AREA_RATIO, Facts, Thing, beside, nearest
from segue.scenes.questions.functional import HOLD, use_of
from segue.scenes.questions.numerical import all_parts
from segue.scenes.questions.registry import follow_up
from segue.scenes.questions.replies import PLURAL_KINDS, in_one, mentions
from segue.scenes.questions.spatial import NOTHING_THERE, SIDE_WORDS, choose_side, part_slots
from segue.scenes.questions.topics import largest_part
from segue.scenes.questions.wording import Speaker, is_plural_part


def focus(previous: Draft) -> Thing | None:
    """Return what "it" means: the only thing of the last answer."""
    things = named_things(previous)
    return things[0] if len(things) == 1 else None


def named_things(previous: Draft) -> list[Thing]:
    """Return the things that the last answer named, also those of which it named a part."""
    return list(
        {(m.thing.image_index, m.thing.object_index): m.thing for m in previous.answer.mentions}.values()
    )


def pronouns(previous: Draft, say: Speaker) -> dict[str, str]:
    """Return the pronouns for the only thing of the last answer; after a part, "it" would mean the part."""
    mention = previous.answer.mentions[0]
    if mention.part is not None:
        return {
            "it": say.pick("that [thing|object]"),
            "its": "that thing's",
            "they": "that thing",
            "does": "does",
            "is_it": "is",
        }
    if mention.thing.kind in PLURAL_KINDS:
        return {"it": "them", "its": "their", "they": "they", "does": "do", "is_it": "are"}
    return {"it": "it", "its": "its", "they": "it", "does": "does", "is_it": "is"}


@follow_up("spatial", "object", 3.0)
def beside_it(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """What is to the right of it?"""
    it, side = focus(previous), choose_side(say)
    found = beside(it, facts.images[it.image_index], side) if it is not None else None
    if it is None or found is None or (not found and say.rng.random() < 0.8):
        return None
    question = say.ask(
        "what is {side} {it}",
        "and what is {side} {it}",
        "and {side} {it}",
        "[show|find] what is {side} {it}",
        "what do you see {side} {it}",
        "is there anything {side} {it}",
        "~moving on, what lies {side} {it}",
        side=say.pick(SIDE_WORDS[side]),
        **pronouns(previous, say),
    )
    return Draft(question, in_one(it.image_index, mentions(found), "there (is)", NOTHING_THERE))


@follow_up("spatial", "object", 2.0)
def nearest_to_it(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """What is closest to it?"""
    it = focus(previous)
    things = facts.images[it.image_index] if it is not None else []
    found = nearest(it, things) if it is not None and len(things) > 2 else None
    if it is None or found is None:
        return None
    question = say.ask(
        "what is [closest|nearest] to {it}",
        "and what is [closest|nearest] to {it}",
        "which [thing|object] is [closest|nearest] to {it}",
        "what is just next to {it}",
        "[show|find] {its} nearest neighbour",
        "and the [thing|object] nearest to {it}",
        "~starting from there, what comes first",
        **pronouns(previous, say),
    )
    return Draft(question, in_one(it.image_index, mentions([found]), "(it is)"))


@follow_up("spatial", "part", 4.0)
def part_beside_it(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """And the handle of the thing to the right of it?"""
    it, side = focus(previous), choose_side(say)
    found = beside(it, facts.images[it.image_index], side) if it is not None else None
    # One thing on that side, or "the thing to the right of it" means none in particular.
    if it is None or found is None or len(found) != 1 or not found[0].parts:
        return None
    part = say.rng.choice(found[0].parts)
    question = say.ask(
        "and the {part} of the [thing|object] {side} {it}",
        "[show|find] the {part} of the [thing|object] {side} {it}",
        "the [thing|object] {side} {it} has {a_part}, where {is_} {that}",
        "where {is_} the {part} of the [thing|object] {side} {it}",
        "what about the {part} of the [thing|object] {side} {it}",
        "can you [show|find|mark] the {part} of what is {side} {it}",
        "~go {side} {it}: where {is_} the {part}",
        **{**part_slots(part), **pronouns(previous, say)},
        side=say.pick(SIDE_WORDS[side]),
        that="they" if is_plural_part(part) else "it",
    )
    return Draft(question, in_one(it.image_index, [Mention(found[0], part)], "(it is)"))


@follow_up("functional", "part", 0.3)
def part_of_it_for_purpose(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """And the part you hold it by?"""
    it = focus(previous)
    named = {m.part for m in previous.answer.mentions}
    parts = [part for part in it.parts if part not in named] if it is not None else []
    if it is None or not parts:
        return None
    part = say.rng.choice(parts)
    purpose = say.rng.choice(KINDS[it.kind].part_purposes[part])
    if purpose == HOLD:
        patterns = (
            "and the part you hold {it} by",
            "and which part do you hold {it} by",
            "where would you [hold|grip|grab] {it}",
            "how would you hold {it}",
            "[show|find] the part to hold {it} by",
            "and by what part do you hold {it}",
            "~and where does your hand go",
        )
    else:
        patterns = (
            "and the part of {it} that is used to {purpose}",
            "and which part of {it} is used to {purpose}",
            "which part of {it} do you use to {purpose}",
            "[show|find] the part of {it} that is used to {purpose}",
            "and the part of {it} to {purpose}",
            "what part of {it} is there to {purpose}",
            "~and with which part of {it} can you {purpose}",
        )
    question = say.ask(*patterns, purpose=purpose, **pronouns(previous, say))
    return Draft(question, in_one(it.image_index, [Mention(it, part)], "you can use"))


@follow_up("functional", "object", 0.12)
def use_of_it(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """What would you use it for?"""
    it = focus(previous)
    if (
        it is None
        or (previous.topic and previous.topic[0] == "purpose")
        or "you can use" in previous.answer.text
    ):
        return None
    question = say.ask(
        "what [would|could|can] you use {it} for",
        "and what {is_it} {they} for",
        "what can you do with {it}",
        "why would you want {it}",
        "and {its} purpose",
        "what {is_it} {they} good for",
        "~and how would {they} help you",
        **pronouns(previous, say),
    )
    return Draft(question, use_of(it))


@follow_up("comparison", "object", 0.9)
def larger_than_it(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """Is anything in that image larger than it?"""
    it = focus(previous)
    if it is None:
        return None
    others = [thing for thing in facts.images[it.image_index] if thing is not it]
    bigger = [thing for thing in others if thing.area > AREA_RATIO * it.area]
    if (
        not others
        # A thing of about the same size has no sure answer.
        or any(1 / AREA_RATIO < thing.area / it.area <= AREA_RATIO for thing in others)
        or len(bigger) > 3
    ):
        return None
    if not bigger and say.rng.random() < 0.6:
        return None
    question = say.ask(
        "is anything [there |in that {image} |]larger than {it}",
        "what is [larger|bigger] than {it}",
        "and what is [larger|bigger] than {it} there",
        "is there anything bigger than {it}",
        "which [things|objects] there are [larger|bigger] than {it}",
        "[show|find] what is [larger|bigger] than {it}",
        "~what takes up more space than {it}",
        **pronouns(previous, say),
    )
    return Draft(question, in_one(it.image_index, mentions(bigger), "there (is)", "There is nothing larger"))


@follow_up("numerical", "part", 0.15)
def parts_of_it(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """How many parts does it have?"""
    it = focus(previous)
    # A part that is hidden would be missing in the count.
    if it is None or it.parts != KINDS[it.kind].parts or len(it.parts) < 2:
        return None
    question = say.ask(
        "how many parts {does} {they} have",
        "and how many parts {does} {they} have",
        "how many parts of {it} [can you see|are visible]",
        "count {its} parts",
        "and {its} parts, how many are there",
        "[name|list|show] {its} parts and count them",
        "~of how many parts {is_it} {they} made",
        **pronouns(previous, say),
    )
    return Draft(question, all_parts(facts, it))


@follow_up("spatial", "part", 0.2)
def largest_part_of_it(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """And its largest part?"""
    it = focus(previous)
    part = largest_part(it) if it is not None else None
    if it is None or part is None or any(m.part == part for m in previous.answer.mentions):
        return None
    question = say.ask(
        "and {its} [largest|biggest] part",
        "what is {its} [largest|biggest] part",
        "which part of {it} is the [largest|biggest]",
        "[show|find] {its} [largest|biggest] part",
        "and which part of {it} takes up the most space",
        "which part of {it} can you see most of",
        "~which part makes up most of {it}",
        **pronouns(previous, say),
    )
    return Draft(question, in_one(it.image_index, [Mention(it, part)], "(it is)"))
