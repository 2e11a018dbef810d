"""How many: every counted thing is grounded, and the number comes after what was counted."""

from __future__ import annotations

from segue.data.language.english import number
from segue.scenes.kinds import COLOURS, KINDS
from segue.scenes.questions.answers import Answer, Draft, Mention
from segue.scenes.questions.facts import VAGUE_PARTS, Facts, Thing
from segue.scenes.questions.functional import ABSENT_SHARE, commoner, scope, things_in
from segue.scenes.questions.registry import opening
from segue.scenes.questions.replies import agree, in_one, mentions, part_name
from segue.scenes.questions.topics import resolve
from segue.scenes.questions.wording import Speaker, is_plural_part

ASKABLE_PARTS = tuple(dict.fromkeys(p for kind in KINDS.values() for p in kind.parts if p not in VAGUE_PARTS))


def choose_kind(say: Speaker, things: list[Thing], absent: float = ABSENT_SHARE) -> str:
    """Choose a kind that is there, repeated ones more often, or sometimes any kind."""
    if not things or say.rng.random() < absent:
        return say.rng.choice(tuple(KINDS))
    return commoner(say, things).kind


def choose_part(say: Speaker, things: list[Thing], absent: float = ABSENT_SHARE) -> str:
    """Choose a part that is there, or sometimes any part."""
    shown = [part for thing in things for part in thing.parts if part not in VAGUE_PARTS]
    return say.rng.choice(shown if shown and say.rng.random() >= absent else ASKABLE_PARTS)


def counting_where(facts: Facts, say: Speaker, image_index: int | None) -> str:
    """Say where to count: "in image 2", "in all the photos"."""
    n = facts.num_images
    return say.all_images(n) if image_index is None else say.in_image(image_index, n)


@opening("numerical", "object", 2.2)
def count_kind(facts: Facts, say: Speaker) -> Draft | None:
    """How many mugs are there in all images?"""
    i = scope(facts, say, 0.35)
    # Now and then a kind of any image, which this one need not show.
    kind = choose_kind(say, facts.things if say.rng.random() < 0.2 else things_in(facts, i))
    question = say.ask(
        "how many {kinds} are there {where}",
        "how many {kinds} [do you see|can you see|can you find|are shown] {where}",
        "count the {kinds} {where}",
        "what is the number of {kinds} {where}",
        "[find|point out|show|mark] all [the |]{kinds} {where} and count them",
        "how many {kinds} {where}",
        "~{where}, what number of {kinds} do you get",
        "~tell me how many times you see {kinds} {where}",
        kinds=KINDS[kind].plural,
        where=counting_where(facts, say, i),
    )
    topic = ("count", kind)
    answer = resolve(facts, topic, i)
    return None if answer is None else Draft(question, answer, topic, i)


@opening("numerical", "object", 0.9)
def count_things(facts: Facts, say: Speaker) -> Draft | None:
    """How many things are in image 2?"""
    i = say.rng.randrange(facts.num_images)
    if not facts.images[i]:
        return None
    topic = ("count_contents",)
    answer = resolve(facts, topic, i)
    if answer is None:
        return None
    question = say.ask(
        "how many [things|objects|items] are [there |]{where}",
        "how many [things|objects] [do you see|can you see|can you count|are shown] {where}",
        "count the [things|objects|items] {where}",
        "what is the number of [things|objects] {where}",
        "{where}, how many [things|objects] are there",
        "[find|point out|mark] all [things|objects] {where} and count them",
        "~{where}, what number of [things|objects] do you get",
        where=say.in_image(i, facts.num_images),
    )
    return Draft(question, answer, topic, i)


@opening("numerical", "object", 1.2)
def count_colour(facts: Facts, say: Speaker) -> Draft | None:
    """How many red things are there in all images?"""
    i = scope(facts, say, 0.3)
    things = things_in(facts, i)
    absent = not things or say.rng.random() < ABSENT_SHARE * 0.6
    colour = say.rng.choice(tuple(COLOURS)) if absent else say.rng.choice(things).colour
    question = say.ask(
        "how many {colour} [things|objects|items] are there {where}",
        "how many [things|objects] {where} are {colour}",
        "count the {colour} [things|objects] {where}",
        "what is the number of {colour} [things|objects] {where}",
        "[find|point out|mark] everything {colour} {where} and count",
        "how many of the [things|objects] {where} are {colour}",
        "~{where}, what number of [things|objects] is {colour}",
        colour=colour,
        where=say.in_image(i, facts.num_images) if i is not None else say.among(facts.num_images),
    )
    topic = ("count_colour", colour)
    answer = resolve(facts, topic, i)
    return None if answer is None else Draft(question, answer, topic, i)


def most(facts: Facts, topic: tuple[str, ...], counts: list[int]) -> Answer | None:
    """Answer which image has more: all image by image, then the one with most; None when that is a tie."""
    ranked = sorted(counts, reverse=True)
    answer = resolve(facts, topic, None)
    if len(counts) < 2 or ranked[0] == ranked[1] or answer is None:
        return None
    return answer.add(
        f" Image {counts.index(ranked[0]) + 1} has {'more' if len(counts) == 2 else 'the most'}."
    )


@opening("numerical", "object", 1.4)
def image_with_more(facts: Facts, say: Speaker) -> Draft | None:
    """Which image has more mugs?"""
    kinds = [kind for kind in facts.kinds if len(facts.of_kind(kind)) > 1] or facts.kinds
    if not kinds:
        return None
    kind = say.rng.choice(kinds)
    counts = [len(facts.of_kind(kind, i)) for i in range(facts.num_images)]
    answer = most(facts, ("kind", kind), counts) if max(counts) > 1 else None
    if answer is None:
        return None
    question = say.ask(
        "which {image} has {more} {kinds}",
        "in which {image} are there {more} {kinds}",
        "where do you see {more} {kinds}",
        "which of the {images} shows {more} {kinds}",
        "count the {kinds} in each {image}: which has {more}",
        "what {image} contains {more} {kinds}",
        "~compare the {images}, which is richest in {kinds}",
        kinds=KINDS[kind].plural,
        more="more" if len(counts) == 2 else "the most",
    )
    return Draft(question, answer, ("count", kind))


@opening("numerical", "object", 0.9)
def repeated_kind(facts: Facts, say: Speaker) -> Draft | None:
    """What is there more than one of in image 1?"""
    i = say.rng.randrange(facts.num_images)
    repeated = [kind for kind in facts.kinds if len(facts.of_kind(kind, i)) > 1]
    # With two kinds that repeat, the answer would be one of two.
    if len(repeated) != 1:
        return None
    question = say.ask(
        "what is there more than one of {where}",
        "which kind of [thing|object] appears more than once {where}",
        "{where}, what do you see more than once",
        "what kind of [thing|object] is repeated {where}",
        "which [things|objects] {where} are of the same kind",
        "[show|find] the things of the same kind {where}",
        "~{where}, what comes in several copies",
        where=say.in_image(i, facts.num_images),
    )
    found = facts.of_kind(repeated[0], i)
    answer = Answer(f"In image {i + 1}, there are {number(len(found))} {KINDS[repeated[0]].plural}: ")
    return Draft(question, answer.add_list(mentions(found)).add("."))


@opening("numerical", "part", 2.4)
def count_part(facts: Facts, say: Speaker) -> Draft | None:
    """How many things with a handle are there in all images?"""
    i = scope(facts, say)
    part = choose_part(say, things_in(facts, i))
    marking = (
        "[show|find|mark] all {a_part} {where} and count"
        if is_plural_part(part)
        else "[show|find|mark] every {part} {where} and count"
    )
    question = say.ask(
        "how many [things|objects|items] with {a_part} are there {where}",
        "how many [things|objects] {where} have {a_part}",
        "count the [things|objects] with {a_part} {where}",
        "how many of the [things|objects] {where} have {a_part}",
        "what is the number of [things|objects] with {a_part} {where}",
        marking,
        "~{where}, what number of [things|objects] has {a_part}",
        a_part=part_name(part),
        part=part,
        where=say.among(facts.num_images) if i is None else say.in_image(i, facts.num_images),
    )
    topic = ("count_part", part)
    answer = resolve(facts, topic, i)
    return None if answer is None else Draft(question, answer, topic, i)


def all_parts(facts: Facts, thing: Thing) -> Answer:
    """Answer how many parts a thing has; right only when none of them is hidden."""
    answer = in_one(thing.image_index, [Mention(thing, part) for part in thing.parts], "you can see")
    return answer.add(f" That makes {number(len(thing.parts))}.")


@opening("numerical", "part", 0.9)
def count_parts_of_kind(facts: Facts, say: Speaker) -> Draft | None:
    """How many parts does the mug in image 1 have?"""
    i = say.rng.randrange(facts.num_images)
    things = [
        t for t in facts.images[i] if t.parts == KINDS[t.kind].parts and len(facts.of_kind(t.kind, i)) == 1
    ]
    if not things:
        return None
    thing = say.rng.choice(things)
    question = say.ask(
        "how many parts of the {kind} [can you see|do you see|are visible] {where}",
        "{where}, how many parts of the {kind} [can you see|are visible]",
        "count the parts of the {kind} {where}",
        "how many parts [does the {kind} {where} have|are there to the {kind} {where}]",
        "of how many parts is the {kind} {where} made",
        "[name|list|show] the parts of the {kind} {where} and count them",
        "~into how many parts can you divide the {kind} {where}",
        kind=thing.kind,
        where=say.in_image(i, facts.num_images),
    )
    return Draft(agree(question, thing.kind), all_parts(facts, thing))


@opening("numerical", "part", 1.0)
def image_with_more_parts(facts: Facts, say: Speaker) -> Draft | None:
    """Which image has more things with a handle?"""
    part = choose_part(say, facts.things, absent=0.0)
    counts = [len(facts.with_part(part, i)) for i in range(facts.num_images)]
    answer = most(facts, ("part", part), counts)
    if answer is None:
        return None
    question = say.ask(
        "which {image} has {more} [things|objects] with {a_part}",
        "in which {image} do {more} [things|objects] have {a_part}",
        "where do you see {more} [things|objects] with {a_part}",
        "which of the {images} shows {more} [things|objects] with {a_part}",
        "count the [things|objects] with {a_part} in each {image}: which has {more}",
        "what {image} contains {more} [things|objects] that have {a_part}",
        "~compare the {images}, where does {a_part} appear most often",
        a_part=part_name(part),
        more="more" if len(counts) == 2 else "the most",
    )
    return Draft(question.replace("do the most ", "do most "), answer, ("count_part", part))
