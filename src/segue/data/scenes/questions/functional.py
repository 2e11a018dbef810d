"""What things and their parts are for."""

from __future__ import annotations

from segue.data.scenes.kinds import KINDS, SHARED
from segue.data.scenes.questions.answers import Answer, Draft, Mention
from segue.data.scenes.questions.facts import Facts, Thing, extreme, largest
from segue.data.scenes.questions.registry import opening
from segue.data.scenes.questions.replies import in_each, mentions, no_such
from segue.data.scenes.questions.topics import NOTHING, OUTERMOST, part_for, parts_serving, resolve, serving
from segue.data.scenes.questions.wording import Speaker

ABSENT_SHARE = 0.2
"""How often a question asks for something that may not be there."""

ALL_PURPOSES = tuple(purpose for kind in KINDS.values() for purpose in kind.purposes)
ALL_PART_PURPOSES = tuple(dict.fromkeys(p for kind in KINDS.values() for served in kind.part_purposes.values() for p in served))
HOLD = "hold it by"


def choose_purpose(facts: Facts, say: Speaker, things: list[Thing]) -> str | None:
    """Choose a purpose that one of the things serves or, sometimes, any purpose at all."""
    if not things or say.rng.random() < ABSENT_SHARE:
        return say.rng.choice(ALL_PURPOSES)
    thing = say.rng.choice(things)
    if say.rng.random() < 0.2:
        shared = [purpose for purpose, kinds in SHARED.items() if thing.kind in kinds]
        if shared:
            return say.rng.choice(shared)
    return say.rng.choice(KINDS[thing.kind].purposes)


def choose_part_purpose(say: Speaker, things: list[Thing]) -> str:
    """Choose a purpose of a visible part of the things or, sometimes, of any part."""
    options = [p for t in things for part in t.parts for p in KINDS[t.kind].part_purposes[part]]
    if not options or say.rng.random() < ABSENT_SHARE:
        return say.rng.choice(ALL_PART_PURPOSES)
    return say.rng.choice(options)


def use(purpose: str, say: Speaker) -> str:
    """Put a purpose as a clause: "could you use to cut paper", "would help you to cut paper"."""
    return say.pick("can you use", "could you use", "would you use", "[do|might] you use") + f" to {purpose}"


@opening("functional", "object", 1.2)
def purpose_in_each_image(facts: Facts, say: Speaker) -> Draft | None:
    purpose = choose_purpose(facts, say, facts.things)
    question = say.ask(
        "[what|which thing|which object|which item] {use} {where}", "{where}, [what|which thing|which object] {use}",
        "[which of the things|what] {where} [can|could] be used to {purpose}", "[find|show me|point out] what you [can|could] use to {purpose} {where}",
        "i want to {purpose}, [what|which thing] {where} [can|should|could] i use", "[what|which object] is good to {purpose} {where}",
        "~{where}, what would help me to {purpose}", "~suppose you need to {purpose}: what do you take {where}",
        use=use(purpose, say), purpose=purpose, where=say.each_image(facts.num_images),
    )
    found = [mentions(serving(facts, purpose, i)) for i in range(facts.num_images)]
    topic_image = 0 if facts.num_images == 1 else None
    return Draft(question, in_each(facts, found, "you can use", NOTHING), ("purpose", purpose), topic_image)


@opening("functional", "object")
def purpose_in_one_image(facts: Facts, say: Speaker) -> Draft | None:
    i = say.rng.randrange(facts.num_images)
    purpose = choose_purpose(facts, say, facts.images[i])
    question = say.ask(
        "[what|which thing|which object] {use} {where}", "{where}, [what|which thing|which object] {use}",
        "[what|which item] {where} [can|could] be used to {purpose}", "[find|show me|point out] what you [can|could] use to {purpose} {where}",
        "i want to {purpose}, [what|which thing] {where} [can|should|could] i use", "is there [anything|something] to {purpose} {where}",
        "~what would help me to {purpose} {where}", "~which of the things {where} is made to {purpose}",
        use=use(purpose, say), purpose=purpose, where=say.in_image(i, facts.num_images),
    )
    topic = ("purpose", purpose)
    answer = resolve(facts, topic, i)
    return None if answer is None else Draft(question, answer, topic, i)


@opening("functional", "object")
def image_with_purpose(facts: Facts, say: Speaker) -> Draft | None:
    if facts.num_images < 2:
        return None
    purpose = say.rng.choice(KINDS[say.rng.choice(facts.things).kind].purposes)
    found = [serving(facts, purpose, i) for i in range(facts.num_images)]
    if sum(map(bool, found)) != 1:
        return None
    question = say.ask(
        "[which|what] {image} [shows|has|contains] something to {purpose}", "in which {image} [can|could] you {purpose}",
        "in which {image} is there something to {purpose} and what is it", "which {image} has what you need to {purpose}",
        "only one {image} has something you can use to {purpose}, which one", "where [can|could] you {purpose}, and with what",
        "[find|point out] the {image} where you could {purpose}", "~which of the {images} would help you to {purpose}",
        purpose=purpose,
    )
    i = next(i for i, things in enumerate(found) if things)
    return Draft(question, in_one_use(i, found[i]), ("purpose", purpose))


def in_one_use(image_index: int, things: list[Thing]) -> Answer:
    """Answer "In image 2, you can use the red mug."."""
    return Answer(f"In image {image_index + 1}, you can use ").add_list(mentions(things)).add(".")


@opening("functional", "object", 0.8)
def use_of_extreme(facts: Facts, say: Speaker) -> Draft | None:
    i = say.rng.randrange(facts.num_images)
    side = say.rng.choice(("left", "right", "largest"))
    things = facts.images[i]
    thing = (largest(things) if side == "largest" else extreme(things, side)) if len(things) > 1 else None
    if thing is None:
        return None
    question = say.ask(
        "what [can|could|would] you use the {which} [thing|object|item] {where} for", "what is the {which} [thing|object] {where} [for|good for|used for]",
        "what is the [use|purpose] of the {which} [thing|object] {where}", "{where}, what [can|could] you do with the {which} [thing|object]",
        "[tell me|say] what the {which} [thing|object] {where} is for", "why would you want the {which} [thing|item] {where}",
        "~how would the {which} [thing|object] {where} help you",
        which="largest" if side == "largest" else OUTERMOST[side], where=say.in_image(i, facts.num_images),
    )
    purpose = KINDS[thing.kind].purposes[0]
    answer = Answer(f"In image {i + 1}, you can use the ", Mention(thing), f" to {purpose}.")
    return Draft(question, answer)


@opening("functional", "part", 1.2)
def part_purpose_in_each_image(facts: Facts, say: Speaker) -> Draft | None:
    purpose = choose_part_purpose(say, facts.things)
    found = [parts_serving(facts, purpose, i) for i in range(facts.num_images)]
    if any(parts is None for parts in found):
        return None
    question = say.ask(*part_patterns(purpose), purpose=purpose, where=say.each_image(facts.num_images))
    answer = in_each(facts, [parts or [] for parts in found], "you can use", NOTHING)
    return Draft(question, answer, ("part_purpose", purpose), 0 if facts.num_images == 1 else None)


@opening("functional", "part")
def part_purpose_in_one_image(facts: Facts, say: Speaker) -> Draft | None:
    i = say.rng.randrange(facts.num_images)
    purpose = choose_part_purpose(say, facts.images[i])
    question = say.ask(*part_patterns(purpose), purpose=purpose, where=say.in_image(i, facts.num_images))
    topic = ("part_purpose", purpose)
    answer = resolve(facts, topic, i)
    return None if answer is None else Draft(question, answer, topic, i)


def part_patterns(purpose: str) -> tuple[str, ...]:
    """Return the wordings that ask for a part by its purpose."""
    if purpose == HOLD:
        return (
            "[which|what] part[s|] [can|could|would] you hold {where}", "where [can|could|would] you [hold|grip|grab] things {where}",
            "[show|find|point out] the part[s|] that you [hold|grip] things by {where}", "what is made to be held by hand {where}",
            "{where}, [which|what] parts are there to [hold|grip] things by", "by which part[s|] [can|could] you [carry|hold|lift] things {where}",
            "~where do your hands go {where}", "~by what would you pick things up {where}",
        )
    return (
        "[which|what] part {where} is used to {purpose}", "{where}, which part [can|could|do] you use to {purpose}",
        "[find|show|point out] the part that is used to {purpose} {where}", "[find|mark|show me] the part {where} that you use to {purpose}",
        "which part of [a thing|an object|something] {where} [is there|is made|serves] to {purpose}", "what part is [for someone|needed] to {purpose} {where}",
        "{where}, [where is|show] the part [meant|used] to {purpose}", "~which part {where} lets you {purpose}",
    )


@opening("functional", "part")
def part_purpose_of_kind(facts: Facts, say: Speaker) -> Draft | None:
    choice = _kind_and_part(facts, say)
    if choice is None:
        return None
    kind, part, purpose = choice
    if any(part not in thing.parts for thing in facts.of_kind(kind)):
        return None
    name, held = KINDS[kind].name, purpose == HOLD
    where = say.each_image(facts.num_images)
    if held:
        question = say.ask(
            "[which|what] part would you hold the {kind} by {where}", "{where}, by [which|what] part [do|can|would] you hold the {kind}",
            "where [do|can|would] you [grip|hold|grab] the {kind} {where}", "how [do|can|would] you hold the {kind} {where}",
            "[show|find|point out] the part you hold the {kind} by {where}", "compare how you would [hold|carry|grip] the {kind} {where}",
            "~where does your hand go on the {kind} {where}", kind=name, where=where,
        )
    else:
        question = say.ask(
            "which part of the {kind} is used to {purpose} {where}", "{where}, [which|what] part of the {kind} do you use to {purpose}",
            "[show|find|point out] the part of the {kind} [used|that is used] to {purpose} {where}", "[what|which part] of the {kind} [serves|is there|is made] to {purpose} {where}",
            "{where}, which part of the {kind} [can|could] you use to {purpose}", "where on the {kind} is the part [used|meant] to {purpose} {where}",
            "~with which part of the {kind} can you {purpose} {where}", kind=name, purpose=purpose, where=where,
        )
    found = [mentions(facts.of_kind(kind, i), part) for i in range(facts.num_images)]
    answer = in_each(facts, found, "(it is)", no_such(kind))
    return Draft(question, answer, ("part_of_kind", kind, part), 0 if facts.num_images == 1 else None)


def _kind_and_part(facts: Facts, say: Speaker) -> tuple[str, str, str] | None:
    things = [thing for thing in facts.things if thing.parts]
    if not things:
        return None
    thing = say.rng.choice(things)
    part = say.rng.choice(thing.parts)
    purposes = KINDS[thing.kind].part_purposes[part]
    return (thing.kind, part, say.rng.choice(purposes)) if purposes else None


@opening("functional", "part", 0.35)
def part_purpose_of_named(facts: Facts, say: Speaker) -> Draft | None:
    things = [thing for thing in facts.things if thing.parts and facts.is_unique(thing)]
    if not things:
        return None
    thing = say.rng.choice(things)
    part = say.rng.choice(thing.parts)
    purpose = say.rng.choice(KINDS[thing.kind].part_purposes[part])
    if part_for(thing, purpose) != part:
        return None
    slots = {"thing": thing.obj.phrase, "purpose": purpose, "where": say.in_image(thing.image_index, facts.num_images)}
    if purpose == HOLD:
        question = say.ask(
            "[which|what] part would you hold the {thing} {where} by", "by [which|what] part [do|can|would] you hold the {thing} {where}",
            "where [do|can|would] you [grip|hold|grab] the {thing} {where}", "how [do|can|would] you hold the {thing} {where}",
            "{where}, [which|what] part [do|would] you hold the {thing} by", "~where does your hand go on the {thing} {where}", **slots,
        )
    else:
        question = say.ask(
            "which part of the {thing} {where} is used to {purpose}", "{where}, [which|what] part of the {thing} do you use to {purpose}",
            "[show|find|point out] the part of the {thing} {where} that is used to {purpose}", "[what|which part] of the {thing} {where} [serves|is there] to {purpose}",
            "which part of the {thing} {where} [can|could] you use to {purpose}", "~with which part of the {thing} {where} can you {purpose}", **slots,
        )
    mention = Mention(thing, part)
    verb = "they are" if mention.is_plural else "it is"
    return Draft(question, Answer(f"In image {thing.image_index + 1}, {verb} the ", mention, "."))
