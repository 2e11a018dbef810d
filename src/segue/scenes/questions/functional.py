"""Questions about what things and their parts are for."""

from __future__ import annotations

from segue.scenes.kinds import KINDS, SHARED
from segue.scenes.questions.answers import Answer, Draft, Mention
from segue.scenes.questions.facts import Facts, Thing
from segue.scenes.questions.registry import opening
from segue.scenes.questions.replies import in_one, mentions
from segue.scenes.questions.topics import resolve, serving, superlative
from segue.scenes.questions.wording import SUPERLATIVES, Speaker

ABSENT_SHARE = 0.1
"""How often a question asks for something without regard to what is there."""

ALL_PURPOSES = tuple(purpose for kind in KINDS.values() for purpose in kind.purposes)
VAGUE_PURPOSES = frozenset(
    {
        "close it",
        "cover the top",
        "hold it together",
        "hold the bones",
        "hold the drink",
        "hold the heart",
        "hold the liquid",
        "hold the water",
        "keep the rain off",
        "keep the rain out",
        "keep the tea in",
    }
)
"""Part purposes that parts of other kinds might serve too; asked for only together with a kind."""

ALL_PART_PURPOSES = tuple(
    dict.fromkeys(
        purpose
        for kind in KINDS.values()
        for served in kind.part_purposes.values()
        for purpose in served
        if purpose not in VAGUE_PURPOSES
    )
)
HOLD = "hold it by"
"""The part purpose of every handle, which has wordings of its own."""


def scope(facts: Facts, say: Speaker, share_of_one: float = 0.45) -> int | None:
    """Choose what a question covers: one image, or None for all of them."""
    if facts.num_images == 1:
        return 0
    return say.rng.randrange(facts.num_images) if say.rng.random() < share_of_one else None


def things_in(facts: Facts, image_index: int | None) -> list[Thing]:
    """Return the things of one image, or of all."""
    return facts.things if image_index is None else facts.images[image_index]


def commoner(say: Speaker, things: list[Thing]) -> Thing:
    """Choose the commoner one of two things, so that what is asked for tends to be in several images."""
    first, second = say.rng.choice(things), say.rng.choice(things)
    kinds = [thing.kind for thing in things]
    return first if kinds.count(first.kind) >= kinds.count(second.kind) else second


def choose_purpose(say: Speaker, things: list[Thing]) -> str:
    """Choose a purpose that one of the things serves or, sometimes, any purpose at all."""
    if not things or say.rng.random() < ABSENT_SHARE:
        return say.rng.choice(ALL_PURPOSES)
    thing = commoner(say, things)
    shared = [purpose for purpose, kinds in SHARED.items() if thing.kind in kinds]
    if shared and say.rng.random() < 0.25:
        return say.rng.choice(shared)
    return say.rng.choice(KINDS[thing.kind].purposes)


def choose_part_purpose(say: Speaker, things: list[Thing]) -> str:
    """Choose a purpose of a visible part of the things or, sometimes, of any part."""
    options = [
        p
        for t in things
        for part in t.parts
        for p in KINDS[t.kind].part_purposes[part]
        if p not in VAGUE_PURPOSES
    ]
    if not options or say.rng.random() < ABSENT_SHARE:
        return say.rng.choice(ALL_PART_PURPOSES)
    return say.rng.choice(options)


def use(purpose: str, say: Speaker) -> str:
    """Put a purpose as a clause: "could you use to cut paper"."""
    return say.pick("can you use", "could you use", "would you use", "[do|might] you use") + f" to {purpose}"


@opening("functional", "object", 2.4)
def thing_for_purpose(facts: Facts, say: Speaker) -> Draft | None:
    """What can you use to cut paper in each image?"""
    i = scope(facts, say)
    purpose = choose_purpose(say, things_in(facts, i))
    question = say.ask(
        "[what|which thing|which object|which item] {use} {where}",
        "{where}, [what|which thing|which object] {use}",
        "what {where} [can|could] be used to {purpose}",
        "[find|show me|point out] what you [can|could] use to {purpose} {where}",
        "i want to {purpose}, [what|which thing] {where} [can|should|could] i use",
        "is there [anything|something] {where} that you can use to {purpose}",
        "~{where}, what would help me to {purpose}",
        "~suppose you need to {purpose}: what do you take {where}",
        use=use(purpose, say),
        purpose=purpose,
        where=say.where(i, facts.num_images),
    )
    topic = ("purpose", purpose)
    answer = resolve(facts, topic, i)
    return None if answer is None else Draft(question, answer, topic, i)


@opening("functional", "object")
def image_for_purpose(facts: Facts, say: Speaker) -> Draft | None:
    """In which image could you cut paper?"""
    if facts.num_images < 2 or not facts.things:
        return None
    purpose = say.rng.choice(KINDS[say.rng.choice(facts.things).kind].purposes)
    found = [serving(facts, i, purpose) for i in range(facts.num_images)]
    # The question asks for one image, so exactly one may have it.
    if sum(map(bool, found)) != 1:
        return None
    question = say.ask(
        "[which|what] {image} [shows|has|contains] something to {purpose}",
        "in which {image} is there something you can use to {purpose}",
        "in which {image} is there something to {purpose} and what is it",
        "which {image} has what you need to {purpose}",
        "only one {image} has something you can use to {purpose}, which one",
        "[find|point out] the {image} with something to {purpose}",
        "~which of the {images} would help you to {purpose}",
        purpose=purpose,
    )
    i = next(i for i, things in enumerate(found) if things)
    return Draft(question, in_one(i, mentions(found[i]), "you can use"), ("purpose", purpose))


@opening("functional", "object", 0.8)
def use_of_superlative(facts: Facts, say: Speaker) -> Draft | None:
    """What is the leftmost thing in image 1 for?"""
    i = say.rng.randrange(facts.num_images)
    which = say.rng.choice(tuple(SUPERLATIVES))
    thing = superlative(facts.images[i], which)
    if thing is None:
        return None
    question = say.ask(
        "what [can|could|would] you use the {which} [thing|object|item] {where} for",
        "what is the {which} [thing|object] {where} [for|good for|used for]",
        "what is the [use|purpose] of the {which} [thing|object] {where}",
        "{where}, what [can|could] you do with the {which} [thing|object]",
        "[tell me|say] what the {which} [thing|object] {where} is for",
        "why would you want the {which} [thing|item] {where}",
        "~how would the {which} [thing|object] {where} help you",
        which=say.pick(SUPERLATIVES[which]),
        where=say.in_image(i, facts.num_images),
    )
    return Draft(question, use_of(thing))


def use_of(thing: Thing) -> Answer:
    """Answer what a thing is for: "In image 1, you can use the red mug to drink coffee from."."""
    # Always the first purpose: answers are phrased in one way only (see `wording`).
    return Answer(
        f"In image {thing.image_index + 1}, you can use the ",
        Mention(thing),
        f" to {KINDS[thing.kind].purposes[0]}.",
    )


_HOLD_PATTERNS = (
    "[which|what] part[s|] [can|could|would] you hold {where}",
    "where [can|could|would] you [hold|grip|grab] things {where}",
    "[show|find|point out] the part[s|] that you [hold|grip] things by {where}",
    "what is made to be held by hand {where}",
    "{where}, [which|what] parts are there to [hold|grip] things by",
    "by which part[s|] [can|could] you [carry|hold|lift] things {where}",
    "compare how you would [carry|hold|lift] things {where}",
    "~where do your hands go {where}",
    "~by what would you pick things up {where}",
)
_PART_PATTERNS = (
    "[which|what] part {where} is used to {purpose}",
    "{where}, which part [can|could|do] you use to {purpose}",
    "[find|show|point out] the part that is used to {purpose} {where}",
    "[find|mark|show me] the part {where} that you use to {purpose}",
    "which part of [a thing|an object|something] {where} [is there|is made|serves] to {purpose}",
    "{where}, [where is|show] the part [meant|used] to {purpose}",
    "~which part {where} lets you {purpose}",
)


@opening("functional", "part", 2.0)
def part_for_purpose(facts: Facts, say: Speaker) -> Draft | None:
    """Which part is used to pour from in each image?"""
    i = scope(facts, say)
    purpose = choose_part_purpose(say, things_in(facts, i))
    patterns = _HOLD_PATTERNS if purpose == HOLD else _PART_PATTERNS
    question = say.ask(*patterns, purpose=purpose, where=say.where(i, facts.num_images))
    topic = ("part_purpose", purpose)
    answer = resolve(facts, topic, i)
    return None if answer is None else Draft(question, answer, topic, i)


_HOLD_KIND_PATTERNS = (
    "[which|what] part would you hold the {thing} by {where}",
    "{where}, by [which|what] part [do|can|would] you hold the {thing}",
    "where [do|can|would] you [grip|hold|grab] the {thing} {where}",
    "how [do|can|would] you hold the {thing} {where}",
    "[show|find|point out] the part you hold the {thing} by {where}",
    "compare how you would [hold|carry|grip] the {thing} {where}",
    "~where does your hand go on the {thing} {where}",
)
_KIND_PATTERNS = (
    "which part of the {thing} is used to {purpose} {where}",
    "{where}, [which|what] part of the {thing} do you use to {purpose}",
    "[show|find|point out] the part of the {thing} [used|that is used] to {purpose} {where}",
    "which part of the {thing} [serves|is there|is made] to {purpose} {where}",
    "{where}, which part of the {thing} [can|could] you use to {purpose}",
    "where on the {thing} is the part [used|meant] to {purpose} {where}",
    "~with which part of the {thing} can you {purpose} {where}",
)


@opening("functional", "part", 1.2)
def part_of_kind_for_purpose(facts: Facts, say: Speaker) -> Draft | None:
    """Which part would you hold the mug by in each image?"""
    i = scope(facts, say)
    things = [thing for thing in things_in(facts, i) if thing.parts]
    if not things:
        return None
    thing = say.rng.choice(things)
    part = say.rng.choice(thing.parts)
    purpose = say.rng.choice(KINDS[thing.kind].part_purposes[part])
    patterns = _HOLD_KIND_PATTERNS if purpose == HOLD else _KIND_PATTERNS
    question = say.ask(*patterns, thing=thing.kind, purpose=purpose, where=say.where(i, facts.num_images))
    topic = ("useful_part", thing.kind, part)
    answer = resolve(facts, topic, i)
    return None if answer is None else Draft(question, answer, topic, i)


@opening("functional", "part", 0.3)
def part_of_thing_for_purpose(facts: Facts, say: Speaker) -> Draft | None:
    """Which part would you hold the red mug in image 1 by?"""
    things = [thing for thing in facts.things if thing.parts and facts.is_unique(thing)]
    if not things:
        return None
    thing = say.rng.choice(things)
    part = say.rng.choice(thing.parts)
    purpose = say.rng.choice(KINDS[thing.kind].part_purposes[part])
    patterns = _HOLD_KIND_PATTERNS if purpose == HOLD else _KIND_PATTERNS
    where = say.in_image(thing.image_index, facts.num_images)
    question = say.ask(*patterns, thing=thing.obj.phrase, purpose=purpose, where=where)
    return Draft(question, in_one(thing.image_index, [Mention(thing, part)], "you can use"))
