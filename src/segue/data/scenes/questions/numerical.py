"""How many: every counted thing is grounded."""

from __future__ import annotations

from segue.data.scenes.kinds import COLOURS, KINDS
from segue.data.scenes.questions.answers import Answer, Draft, Mention
from segue.data.scenes.questions.facts import Facts
from segue.data.scenes.questions.functional import ABSENT_SHARE
from segue.data.scenes.questions.registry import opening
from segue.data.scenes.questions.replies import mentions, no_such, part_name, placed
from segue.data.scenes.questions.topics import resolve
from segue.data.scenes.questions.wording import Speaker, number

MOST = 6
"""No answer lists more phrases."""

ALL_PARTS = tuple(dict.fromkeys(part for kind in KINDS.values() for part in kind.parts))


def choose_kind(facts: Facts, say: Speaker) -> str:
    """Choose a kind that is there, repeated ones more often, or sometimes any kind."""
    if not facts.things or say.rng.random() < ABSENT_SHARE:
        return say.rng.choice(tuple(KINDS))
    return say.rng.choice(facts.things).kind


def counted_in_all(facts: Facts, found: list[Mention], nothing: str) -> Answer | None:
    """Answer "Two: the red mug in image 1 and the blue mug in image 2."."""
    if len(found) > MOST:
        return None
    if not found:
        where = "image 1" if facts.num_images == 1 else "any image"
        return Answer(f"{nothing} in {where}.")
    return Answer(f"{number(len(found)).capitalize()}: ").extend(placed(found)).add(".")


@opening("numerical", "object", 1.4)
def count_kind_in_all(facts: Facts, say: Speaker) -> Draft | None:
    kind = choose_kind(facts, say)
    question = say.ask(
        "how many {kinds} are there {where}", "how many {kinds} [do you see|can you see|can you find|are shown] {where}", "count the {kinds} {where}",
        "what is the number of {kinds} {where}", "[find|point out|show|mark] all [the |]{kinds} {where} and count them", "how many {kinds} {where}",
        "~{where}, what number of {kinds} do you get", "~tell me how often you see {kinds} {where}",
        kinds=KINDS[kind].plural, where=say.all_images(facts.num_images),
    )
    answer = counted_in_all(facts, mentions(facts.of_kind(kind)), no_such(kind))
    return None if answer is None else Draft(question, answer, ("count", kind), 0 if facts.num_images == 1 else None)


@opening("numerical", "object", 0.9)
def count_kind_in_one(facts: Facts, say: Speaker) -> Draft | None:
    i = say.rng.randrange(facts.num_images)
    if not facts.images[i]:
        return None
    kind = choose_kind(facts, say) if say.rng.random() < 0.4 else say.rng.choice(facts.images[i]).kind
    question = say.ask(
        "how many {kinds} are there {where}", "how many {kinds} [do you see|can you see|can you find|are shown] {where}", "count the {kinds} {where}",
        "what is the number of {kinds} {where}", "{where}, how many {kinds} are there", "how many {kinds} {where}",
        "~{where}, what number of {kinds} do you get", kinds=KINDS[kind].plural, where=say.in_image(i, facts.num_images),
    )
    answer = resolve(facts, ("count", kind), i)
    return None if answer is None else Draft(question, answer, ("count", kind), i)


@opening("numerical", "object")
def count_things_in_one(facts: Facts, say: Speaker) -> Draft | None:
    i = say.rng.randrange(facts.num_images)
    things = facts.images[i]
    if not 1 <= len(things) <= 4:
        return None
    question = say.ask(
        "how many [things|objects|items] are [there |]{where}", "how many [things|objects] [do you see|can you see|can you count|are shown] {where}",
        "count the [things|objects|items] {where}", "what is the number of [things|objects] {where}", "{where}, how many [things|objects] are there",
        "[find|point out|mark] all [things|objects] {where} and count them", "~{where}, what number of [things|objects] do you get",
        where=say.in_image(i, facts.num_images),
    )
    answer = Answer(f"{number(len(things)).capitalize()}: ").add_list(mentions(things)).add(f" in image {i + 1}.")
    return Draft(question, answer, ("contents",), i)


@opening("numerical", "object")
def count_colour_in_all(facts: Facts, say: Speaker) -> Draft | None:
    absent = not facts.things or say.rng.random() < ABSENT_SHARE
    colour = say.rng.choice(tuple(COLOURS)) if absent else say.rng.choice(facts.things).colour
    found = [thing for thing in facts.things if thing.colour == colour]
    question = say.ask(
        "how many {colour} [things|objects|items] are there {where}", "how many [things|objects] {where} are {colour}", "count the {colour} [things|objects] {where}",
        "what is the number of {colour} [things|objects] {where}", "[find|point out|mark] everything {colour} {where} and count", "how many of the [things|objects] {where} are {colour}",
        "~{where}, what number of [things|objects] is {colour}", colour=colour, where=say.all_images(facts.num_images),
    )
    answer = counted_in_all(facts, mentions(found), f"There is nothing {colour}")
    return None if answer is None else Draft(question, answer, ("colour", colour), 0 if facts.num_images == 1 else None)


@opening("numerical", "object", 1.2)
def image_with_more(facts: Facts, say: Speaker) -> Draft | None:
    if facts.num_images < 2:
        return None
    kind = say.rng.choice(facts.kinds) if facts.kinds else ""
    counts = sorted(((len(facts.of_kind(kind, i)), i) for i in range(facts.num_images)), reverse=True)
    if counts[0][0] < 2 or counts[0][0] == counts[1][0]:
        return None
    i = counts[0][1]
    question = say.ask(
        "which {image} has [more|the most] {kinds}", "in which {image} are there [more|the most] {kinds}", "where do you see [more|the most] {kinds}",
        "which of the {images} shows [more|the most] {kinds}", "[find|name] the {image} with the most {kinds}", "what {image} contains [more|the most] {kinds}",
        "~compare the {images}, which is richest in {kinds}", kinds=KINDS[kind].plural,
    )
    answer = Answer(f"Image {i + 1} has {number(counts[0][0])}: ").add_list(mentions(facts.of_kind(kind, i))).add(".")
    return Draft(question, answer, ("count", kind))


@opening("numerical", "object", 0.8)
def repeated_kind(facts: Facts, say: Speaker) -> Draft | None:
    i = say.rng.randrange(facts.num_images)
    repeated = [kind for kind in facts.kinds if len(facts.of_kind(kind, i)) > 1]
    if len(repeated) != 1:
        return None
    question = say.ask(
        "what is there more than one of {where}", "which [kind of |][thing|object] appears more than once {where}", "{where}, what do you see more than once",
        "what [kind of thing |]is repeated {where}", "which [things|objects] {where} are of the same kind", "[show|find] the things of the same kind {where}",
        "~{where}, what comes in several copies", where=say.in_image(i, facts.num_images),
    )
    found = facts.of_kind(repeated[0], i)
    answer = Answer(f"In image {i + 1}, there are {number(len(found))} {KINDS[repeated[0]].plural}: ").add_list(mentions(found)).add(".")
    return Draft(question, answer)


def choose_part(facts: Facts, say: Speaker) -> str:
    """Choose a part that is there, or sometimes any part."""
    with_parts = [thing for thing in facts.things if thing.parts]
    if not with_parts or say.rng.random() < ABSENT_SHARE * 0.7:
        return say.rng.choice(ALL_PARTS)
    return say.rng.choice(say.rng.choice(with_parts).parts)


@opening("numerical", "part", 1.3)
def count_part_in_all(facts: Facts, say: Speaker) -> Draft | None:
    part = choose_part(facts, say)
    if facts.has_hidden(part):
        return None
    question = say.ask(
        "how many [things|objects|items] with {a_part} are there {where}", "how many [things|objects] {where} have {a_part}", "count the [things|objects] with {a_part} {where}",
        "how many of the [things|objects] {where} have {a_part}", "what is the number of [things|objects] with {a_part} {where}",
        "[show|find|mark] {a_part} wherever there is one {where} and count" if not part.endswith("s") else "[show|find|mark] all {a_part} {where} and count the things that have them",
        "~{where}, what number of [things|objects] has {a_part}", a_part=part_name(part), where=say.all_images(facts.num_images),
    )
    answer = counted_in_all(facts, mentions(facts.with_part(part), part), f"Nothing has {part_name(part)}")
    return None if answer is None else Draft(question, answer, ("count_part", part), 0 if facts.num_images == 1 else None)


@opening("numerical", "part", 1.1)
def count_part_in_one(facts: Facts, say: Speaker) -> Draft | None:
    i = say.rng.randrange(facts.num_images)
    part = choose_part(facts, say)
    question = say.ask(
        "how many [things|objects|items] with {a_part} are there {where}", "how many [things|objects] {where} have {a_part}", "count the [things|objects] with {a_part} {where}",
        "how many of the [things|objects] {where} have {a_part}", "{where}, how many [things|objects] have {a_part}", "what is the number of [things|objects] with {a_part} {where}",
        "~{where}, what number of [things|objects] has {a_part}", a_part=part_name(part), where=say.in_image(i, facts.num_images),
    )
    answer = resolve(facts, ("count_part", part), i)
    return None if answer is None or len(answer.mentions) > MOST else Draft(question, answer, ("count_part", part), i)


@opening("numerical", "part", 0.8)
def count_parts_of_kind(facts: Facts, say: Speaker) -> Draft | None:
    i = say.rng.randrange(facts.num_images)
    things = [t for t in facts.images[i] if t.parts == KINDS[t.kind].parts and len(facts.of_kind(t.kind, i)) == 1]
    if not things:
        return None
    thing = say.rng.choice(things)
    question = say.ask(
        "how many parts of the {kind} [can you see|do you see|are visible] {where}", "{where}, how many parts of the {kind} [can you see|are visible]",
        "count the parts of the {kind} {where}", "of how many parts is the {kind} {where} made", "how many parts does the {kind} {where} have",
        "[name|list|show] the parts of the {kind} {where}", "~into how many parts can you divide the {kind} {where}", kind=thing.kind, where=say.in_image(i, facts.num_images),
    )
    if thing.kind == "scissors":
        question = question.replace("is the scissors", "are the scissors").replace("does the scissors", "do the scissors")
    found = [Mention(thing, part) for part in thing.parts]
    return Draft(question, Answer(f"{number(len(found)).capitalize()}: ").add_list(found).add(f" in image {i + 1}."))


@opening("numerical", "part", 0.8)
def image_with_more_parts(facts: Facts, say: Speaker) -> Draft | None:
    if facts.num_images < 2:
        return None
    part = choose_part(facts, say)
    counts = sorted(((len(facts.with_part(part, i)), i) for i in range(facts.num_images)), reverse=True)
    if counts[0][0] < 1 or counts[0][0] == counts[1][0] or facts.has_hidden(part):
        return None
    i = counts[0][1]
    question = say.ask(
        "which {image} has [more|the most] [things|objects] with {a_part}", "in which {image} do [more|the most] [things|objects] have {a_part}",
        "where do you see [more|the most] [things|objects] with {a_part}", "which of the {images} shows [more|the most] [things|objects] with {a_part}",
        "[find|name] the {image} with the most [things|objects] that have {a_part}", "what {image} contains [more|the most] [things|objects] that have {a_part}",
        "~compare the {images}, where do most [things|objects] have {a_part}", a_part=part_name(part),
    )
    answer = Answer(f"Image {i + 1} has {number(counts[0][0])}: ").add_list(mentions(facts.with_part(part, i), part)).add(".")
    return Draft(question, answer, ("count_part", part))
