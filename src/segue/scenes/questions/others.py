"""Follow-ups about other things than those just named: "and the other one?", "what else has one?"."""

from __future__ import annotations

from segue.data.language.english import number
from segue.scenes.questions.answers import Draft, Mention
from segue.scenes.questions.facts import Facts
from segue.scenes.questions.followups import focus, named_things, pronouns
from segue.scenes.questions.registry import follow_up
from segue.scenes.questions.replies import PLURAL_KINDS, in_one, mentions
from segue.scenes.questions.spatial import part_slots
from segue.scenes.questions.topics import resolve
from segue.scenes.questions.wording import Speaker, be


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
        **pronouns(previous, say),
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
    things = named_things(previous)
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
    things = named_things(previous)
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
    # Of one image `where` is "there", which some patterns have already.
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
