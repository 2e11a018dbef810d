"""Follow-ups about what the last answer named: "what is right of it?", "how many of them are there?"."""

from __future__ import annotations

from segue.data.scenes.kinds import KINDS
from segue.data.scenes.questions.answers import Draft, Mention
from segue.data.scenes.questions.facts import AREA_RATIO, Facts, Thing, beside, nearest
from segue.data.scenes.questions.functional import HOLD, use_of
from segue.data.scenes.questions.numerical import all_parts
from segue.data.scenes.questions.registry import follow_up
from segue.data.scenes.questions.replies import PLURAL_KINDS, in_one, mentions
from segue.data.scenes.questions.spatial import NOTHING_THERE, SIDE_WORDS, choose_side, part_slots
from segue.data.scenes.questions.topics import largest_part, resolve
from segue.data.scenes.questions.wording import Speaker, be, is_plural_part, number


def focus(previous: Draft) -> Thing | None:
    """Return what "it" means: the only thing of the last answer."""
    things = _named(previous)
    return things[0] if len(things) == 1 else None


def _named(previous: Draft) -> list[Thing]:
    return list(
        {(m.thing.image_index, m.thing.object_index): m.thing for m in previous.answer.mentions}.values()
    )


def _it(previous: Draft, say: Speaker) -> dict[str, str]:
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
        **_it(previous, say),
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
        **_it(previous, say),
    )
    return Draft(question, in_one(it.image_index, mentions([found]), "(it is)"))


@follow_up("spatial", "part", 4.0)
def part_beside_it(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """And the handle of the thing to the right of it?"""
    it, side = focus(previous), choose_side(say)
    found = beside(it, facts.images[it.image_index], side) if it is not None else None
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
        **{**part_slots(part), **_it(previous, say)},
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
    question = say.ask(*patterns, purpose=purpose, **_it(previous, say))
    return Draft(question, in_one(it.image_index, [Mention(it, part)], "(it is)"))


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
        **_it(previous, say),
    )
    return Draft(question, use_of(it))


@follow_up("comparison", "object", 1.0)
def another_elsewhere(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """Is there another one in image 2?"""
    it = focus(previous)
    if it is None or facts.num_images < 2:
        return None
    j = say.rng.choice([j for j in range(facts.num_images) if j != it.image_index])
    topic = ("kind", it.kind)
    answer = resolve(facts, topic, j)
    if answer is None or (not answer.mentions and say.rng.random() < 0.75):
        return None
    question = say.ask(
        "is there [another one|one too|one as well] in {image_j}",
        "and is there one in {image_j}",
        "do you see another one in {image_j}",
        "does {image_j} show one too",
        "is there one like {it} in {image_j}",
        "can you find another one in {image_j}",
        "~does {image_j} have its own",
        image_j=say.image(j, facts.num_images),
        **_it(previous, say),
    )
    if it.kind in PLURAL_KINDS:
        question = say.ask(
            "are there any in {image_j} [too|as well]",
            "and in {image_j}, are there any",
            "can you find some in {image_j} too",
            image_j=say.image(j, facts.num_images),
        )
    return Draft(question, answer, topic, j)


@follow_up("comparison", "object", 2.0)
def other_of_kind(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """What colour is the other one?"""
    it = focus(previous)
    others = [thing for thing in facts.of_kind(it.kind) if thing is not it] if it is not None else []
    if it is None or len(others) != 1 or it.kind in PLURAL_KINDS:
        return None
    question = say.ask(
        "what colour is the other one",
        "and the other one",
        "and what colour is the other one",
        "[where|which] is the other one",
        "[show|find] the other one",
        "what about the other one",
        "how does the other one look",
        "~there is one more, of which colour",
    )
    return Draft(question, in_one(others[0].image_index, mentions(others), "(it is)"))


@follow_up("comparison", "object", 2.0)
def which_also_elsewhere(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """Which of these is also in image 2?"""
    things = _named(previous)
    images, kinds = {thing.image_index for thing in things}, {thing.kind for thing in things}
    if (
        any(m.part for m in previous.answer.mentions)
        or len(kinds) < 2
        or len(images) != 1
        or facts.num_images < 2
    ):
        return None
    j = say.rng.choice([j for j in range(facts.num_images) if j not in images])
    found = [thing for thing in facts.images[j] if thing.kind in kinds]
    if not found and say.rng.random() < 0.75:
        return None
    question = say.ask(
        "which of these is also in {image_j}",
        "which of them [are|can you see|do you find] in {image_j} too",
        "are any of these also in {image_j}",
        "and which of these does {image_j} show too",
        "do you see any of them in {image_j}",
        "is one of these in {image_j} as well",
        "~what of all that comes back in {image_j}",
        image_j=say.image(j, facts.num_images),
    )
    return Draft(question, in_one(j, mentions(found), "there (is)", "There is none of them"))


@follow_up("comparison", "object", 0.35)
def what_else(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """What else is there in that image?"""
    things = _named(previous)
    if not things or len({thing.image_index for thing in things}) != 1:
        return None
    i = things[0].image_index
    rest = [thing for thing in facts.images[i] if thing not in things]
    if not 1 <= len(rest) <= 3:
        return None
    question = say.ask(
        "what else is [there|in that {image}|in this {image}]",
        "and what else [is|do you see|can you see] there",
        "what other [things|objects] are in that {image}",
        "what else does [that|this] {image} show",
        "and the other [things|objects] in that {image}",
        "[show|name|list] the other [things|objects] there",
        "~and the rest of that {image}",
    )
    return Draft(question, in_one(i, mentions(rest), "there (is)"))


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
        **_it(previous, say),
    )
    return Draft(question, in_one(it.image_index, mentions(bigger), "there (is)", "There is nothing larger"))


@follow_up("numerical", "object", 1.0)
def how_many_of_them(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """How many of these are there in all?"""
    it = focus(previous)
    if it is None or (previous.topic and previous.topic[0] in ("count", "kind")):
        return None
    topic = ("count", it.kind)
    answer = resolve(facts, topic, None)
    if answer is None or (len(answer.mentions) < 2 and say.rng.random() < 0.7):
        return None
    where = "there" if facts.num_images == 1 else say.all_images(facts.num_images)
    question = say.ask(
        "how many [of these|of them|like it|such things] are there {where}",
        "and how many of [these|them] do you see {where}",
        "how many [of these|like it] can you find {where}",
        "count [all of these|those like it] {where}",
        "and how many of that kind are there {where}",
        "and how many like it do you find {where}",
        "~how often does such a thing appear {where}",
        where=where,
    )
    question = question.replace("are there there", "are there").replace(
        "like it", "like them" if it.kind in PLURAL_KINDS else "like it"
    )
    return Draft(question, answer, topic, 0 if facts.num_images == 1 else None)


@follow_up("numerical", "object", 0.25)
def how_many_others(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """How many other things are in that image?"""
    draft = what_else(facts, say, previous)
    if draft is None:
        return None
    question = say.ask(
        "how many other [things|objects] are [there|in that {image}]",
        "and how many other [things|objects] do you see there",
        "count the other [things|objects] in that {image}",
        "how many more [things|objects] does that {image} show",
        "and how many others are there",
        "how many [things|objects] are there besides",
        "~how many are left in that {image}",
    )
    return Draft(question, draft.answer.add(f" That makes {number(len(draft.answer.mentions))}."))


@follow_up("numerical", "part", 0.15)
def parts_of_it(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """How many parts does it have?"""
    it = focus(previous)
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
        **_it(previous, say),
    )
    return Draft(question, all_parts(facts, it))


@follow_up("comparison", "part", 3.0)
def what_else_has_part(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """What else there has one?"""
    mentioned = previous.answer.mentions
    if len(mentioned) != 1 or mentioned[0].part is None:
        return None
    it, part = mentioned[0].thing, mentioned[0].part
    if facts.is_unclear(part, it.image_index):
        return None
    others = [thing for thing in facts.with_part(part, it.image_index) if thing is not it]
    if not others and say.rng.random() < 0.85:
        return None
    ones = "any" if part.endswith("s") else "one"
    question = say.ask(
        "what else [there |in that {image} |]has {ones}",
        "and what else has {ones} there",
        "does anything else there have {ones}",
        "which other [thing|object] there has {ones}",
        "is there another [thing|object] with {ones} there",
        "[find|show] another one there" if ones == "one" else "[find|show] others there",
        "~where else there do you find {ones}",
        ones=ones,
    )
    return Draft(
        question,
        in_one(
            it.image_index,
            mentions(others, part),
            "you can see",
            f"There {be(part.endswith('s'))} no other {part}",
        ),
    )


@follow_up("comparison", "part", 3.0)
def same_part_of_kind_elsewhere(facts: Facts, say: Speaker, previous: Draft) -> Draft | None:
    """And the handle of the one in image 2?"""
    it = focus(previous)
    if it is None or not it.parts or facts.num_images < 2:
        return None
    others = [
        t
        for t in facts.of_kind(it.kind)
        if t.image_index != it.image_index and len(facts.of_kind(t.kind, t.image_index)) == 1
    ]
    shared = [(t, part) for t in others for part in t.parts if part in it.parts]
    if not shared:
        return None
    other, part = say.rng.choice(shared)
    image_j = say.image(other.image_index, facts.num_images)
    ones = "those" if it.kind in PLURAL_KINDS else "the one"
    question = say.ask(
        "and the {part} of {ones} in {image_j}",
        "[show|find] the {part} of {ones} in {image_j}",
        "what about the {part} of {ones} in {image_j}",
        "where {is_} the {part} of {ones} in {image_j}",
        "compare with the {part} of {ones} in {image_j}",
        "and in {image_j}, where {is_} the {part}",
        "~find its fellow in {image_j} and show the {part}",
        ones=ones,
        image_j=image_j,
        **{k: v for k, v in part_slots(part).items() if k in ("part", "is_")},
    )
    return Draft(question, in_one(other.image_index, [Mention(other, part)], "(it is)"))


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
        **_it(previous, say),
    )
    return Draft(question, in_one(it.image_index, [Mention(it, part)], "(it is)"))
