"""Open-ended comparison: what images and things share, and how they differ."""

from __future__ import annotations

from segue.data.scenes.kinds import COLOURS, KINDS
from segue.data.scenes.questions.answers import Answer, Draft, Mention
from segue.data.scenes.questions.facts import AREA_RATIO, Facts, Thing
from segue.data.scenes.questions.functional import ABSENT_SHARE
from segue.data.scenes.questions.numerical import choose_kind, choose_part
from segue.data.scenes.questions.registry import opening
from segue.data.scenes.questions.replies import everywhere, here, in_each, mentions, no_such, one, part_name, placed
from segue.data.scenes.questions.topics import resolve
from segue.data.scenes.questions.wording import Speaker, be, is_plural_part


def contents(facts: Facts, say: Speaker, image_index: int | None = None) -> Draft | None:
    """Ask what an image shows: the question that is always possible."""
    i = say.rng.randrange(facts.num_images) if image_index is None else image_index
    question = say.ask(
        "what is {where}", "what [can|do] you see {where}", "[describe|list|name] [the things|the objects|everything|what is] {where}", "which [things|objects] are [there |]{where}",
        "what does {image_i} show", "[tell me|say] what is {where}", "~give me an account of {image_i}",
        where=say.in_image(i, facts.num_images), image_i=say.image(i, facts.num_images),
    )
    answer = resolve(facts, ("contents",), i)
    return None if answer is None else Draft(question, answer, ("contents",), i)


opening("comparison", "object", 0.5)(contents)


@opening("comparison", "object", 1.6)
def compare_kind(facts: Facts, say: Speaker) -> Draft | None:
    shared = [kind for kind in facts.kinds if len(facts.of_kind(kind)) > 1]
    if not shared:
        return None
    kind = say.rng.choice(shared)
    found = mentions(facts.of_kind(kind))
    if len(found) > 4:
        return None
    question = say.ask(
        "compare the {kinds}", "how do the {kinds} differ", "what is the difference between the {kinds}", "compare the {kinds} {where}",
        "are the {kinds} {where} [alike|the same]", "[do|are] the {kinds} {where} of the same colour".replace("[do|are]", "are"), "how are the {kinds} {where} different",
        "do the {kinds} have the same colour", "~what sets the {kinds} apart", "~tell the {kinds} apart", kinds=KINDS[kind].plural,
        where=say.all_images(facts.num_images),
    )
    colours = {mention.thing.colour for mention in found}
    same = len(colours) == 1
    answer = Answer("There are ").extend(placed(found))
    end = f"they are {'both' if len(found) == 2 else 'all'} {next(iter(colours))}" if same else "their colours differ"
    return Draft(question, answer.add(f"; {end}."), ("kind", kind))


@opening("comparison", "object", 1.4)
def shared_kinds(facts: Facts, say: Speaker) -> Draft | None:
    if facts.num_images < 2:
        return None
    shared = [kind for kind in facts.kinds if all(facts.of_kind(kind, i) for i in range(facts.num_images))]
    if len(shared) > 2 or (not shared and say.rng.random() < 0.75):
        return None
    question = say.ask(
        "what do the {images} have in common", "which kind of [thing|object] is in every {image}", "what [appears|is shown|is] in {all_images}",
        "what do {all_images} show", "what is the same in the {images}", "[find|name|show] what the {images} [have in common|share]", "what can you find in every {image}",
        "~what links the {images}", "~what keeps coming back from {image} to {image}",
        all_images="both " + say.noun + "s" if facts.num_images == 2 else "all " + say.noun + "s",
    )
    if not shared:
        return Draft(question, Answer("No kind of thing is in every image."))
    answer = Answer()
    for position, kind in enumerate(shared):
        answer.add(" " if position else "", f"{everywhere(facts)} show {one(kind)}: ").extend(placed(mentions(facts.of_kind(kind)))).add(".")
    return Draft(question, answer)


@opening("comparison", "object", 1.0)
def only_in_one(facts: Facts, say: Speaker) -> Draft | None:
    if facts.num_images < 2:
        return None
    i, other = say.rng.sample(range(facts.num_images), 2)
    there = {thing.kind for thing in facts.images[other]}
    found = mentions([thing for thing in facts.images[i] if thing.kind not in there])
    if not 1 <= len(found) <= 3:
        return None
    question = say.ask(
        "what is in {this} but not in {that}", "which [things|objects|kinds of things] in {this} are missing [in|from] {that}", "what does {this} show that {that} does not",
        "what can you find in {this} but not in {that}", "compare {this} with {that}: what is only in {this}", "what [is missing in|does not appear in] {that} but is in {this}",
        "~what would you lose going from {this} to {that}", this=say.image(i, facts.num_images), that=say.image(other, facts.num_images),
    )
    answer = Answer(f"Unlike {here(other)}, {here(i)} shows ").add_list(found, article="a ").add(".")
    return Draft(question, answer)


@opening("comparison", "object", 1.0)
def same_colour(facts: Facts, say: Speaker) -> Draft | None:
    groups: dict[str, list[Thing]] = {}
    for thing in facts.things:
        groups.setdefault(thing.colour, []).append(thing)
    shared = [colour for colour, things in groups.items() if len(things) > 1]
    if len(shared) != 1 or len(groups[shared[0]]) > 4:
        return None
    found = groups[shared[0]]
    question = say.ask(
        "which [things|objects] have the same colour", "what has the same colour {where}", "which [things|objects|items] {where} share a colour",
        "[find|show|point out] [the things|the objects|what is] of the same colour {where}", "which [things|objects] {where} match in colour", "are there [things|objects] of the same colour {where}",
        "~which of the things {where} would match", where=say.all_images(facts.num_images),
    )
    answer = placed(mentions(found), capital=True).add(f" are {'both' if len(found) == 2 else 'all'} {shared[0]}.")
    return Draft(question, answer)


@opening("comparison", "object", 1.0)
def larger_of_two(facts: Facts, say: Speaker) -> Draft | None:
    i = say.rng.randrange(facts.num_images)
    single = [thing for thing in facts.images[i] if len(facts.of_kind(thing.kind, i)) == 1]
    if len(single) < 2:
        return None
    first, second = say.rng.sample(single, 2)
    big, small = (first, second) if first.area > second.area else (second, first)
    if big.area <= AREA_RATIO * small.area:
        return None
    question = say.ask(
        "which is [larger|bigger] {where}, the {one} or the {two}", "{where}, what is [larger|bigger]: the {one} or the {two}", "compare the [sizes|size] of the {one} and the {two} {where}",
        "{is_} the {one} [larger|bigger] than the {two} {where}", "does the {one} or the {two} take up more space {where}", "of the {one} and the {two} {where}, which is the [larger|bigger] one",
        "~how do the {one} and the {two} {where} compare in size", one=first.kind, two=second.kind, is_=be(first.kind == "scissors"), where=say.in_image(i, facts.num_images),
    )
    mention = Mention(big)
    return Draft(question, Answer(f"In image {i + 1}, the ", mention, f" {be(mention.is_plural)} larger than the ", Mention(small), "."))


@opening("comparison", "object", 1.3)
def which_images_show(facts: Facts, say: Speaker) -> Draft | None:
    kind = choose_kind(facts, say)
    coloured = say.rng.random() < 0.35
    colour = ""
    if coloured:
        same = facts.of_kind(kind)
        colour = say.rng.choice(tuple(COLOURS)) if not same or say.rng.random() < 0.45 else say.rng.choice(same).colour
    target = f"{colour} {kind}".strip()
    question = say.ask(
        "which {images} show {target}" if facts.num_images > 1 else "is there {target} {where}", "in which {images} [is there|can you see|do you see] {target}" if facts.num_images > 1 else "do you see {target} {where}",
        "is there {target} {where}", "[find|show|point out] {the} {where}", "[do you see|can you see|can you find] {target} {where}", "{where}, is there {target}",
        "~i am looking for {target}, is there one {where}", target=_one_of(colour, kind), the=f"the {target}", where=say.each_image(facts.num_images),
    )
    if kind == "scissors":
        question = question.replace("is there", "are there").replace("Is there", "Are there").replace("one in", "any in")
    if not colour:
        found = [mentions(facts.of_kind(kind, i)) for i in range(facts.num_images)]
        return Draft(question, in_each(facts, found, "there (is)", no_such(kind)), ("kind", kind), 0 if facts.num_images == 1 else None)
    return Draft(question, coloured_presence(facts, kind, colour))


def _one_of(colour: str, kind: str) -> str:
    return one(kind) if not colour else f"{colour} {kind}" if kind == "scissors" else f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {kind}"


def coloured_presence(facts: Facts, kind: str, colour: str) -> Answer:
    """Answer image by image whether a coloured kind is there: "There is no blue lamp in image 2, only a red lamp."."""
    answer = Answer()
    for i in range(facts.num_images):
        answer.add(" " if i else "")
        things = facts.of_kind(kind, i)
        found = mentions([thing for thing in things if thing.colour == colour])
        if found:
            answer.add(f"In {here(i)}, there {be(found[0].is_plural)} ").add_list(found, article="a ").add(".")
            continue
        answer.add(f"{no_such(kind, colour)} in {here(i)}")
        if things:
            answer.add(", only ").add_list(mentions(things), article="a ")
        answer.add(".")
    return answer


@opening("comparison", "part", 1.4)
def compare_part_of_kind(facts: Facts, say: Speaker) -> Draft | None:
    choices = [(kind, part) for kind in facts.kinds for part in KINDS[kind].parts
               if 2 <= len(facts.of_kind(kind)) <= 4 and all(part in thing.parts for thing in facts.of_kind(kind))]
    if not choices:
        return None
    kind, part = say.rng.choice(choices)
    found = mentions(facts.of_kind(kind), part)
    question = say.ask(
        "compare the {part} of the {kinds}", "how do the {kinds} differ in their {part}", "compare the {kinds} by their {part} {where}", "[show|find|point out] the {part} of each of the {kinds} and compare",
        "what is the difference between the {kinds} at the {part}", "compare the {part} of [each|every] {kind} {where}", "~what about the {part} sets the {kinds} apart",
        part=part, kind=kind, kinds=KINDS[kind].plural, where=say.all_images(facts.num_images),
    )
    same = len({mention.thing.colour for mention in found}) == 1
    end = f"the {KINDS[kind].plural} have the same colour" if same else f"the {KINDS[kind].plural} have different colours"
    return Draft(question, Answer("There are ").extend(placed(found)).add(f"; {end}."), ("part_of_kind", kind, part))


@opening("comparison", "part", 1.2)
def what_has_part(facts: Facts, say: Speaker) -> Draft | None:
    part = choose_part(facts, say)
    found = [mentions(facts.with_part(part, i), part) for i in range(facts.num_images)]
    if facts.has_hidden(part) or sum(map(len, found)) > 6:
        return None
    question = say.ask(
        "what has {a_part} {where}", "which [thing|object] has {a_part} {where}", "{where}, [what|which things|which objects] [has|have] {a_part}".replace("[has|have] ", "can you find with "),
        "[find|show|point out|mark] {the} {where}", "compare the {images}: what has {a_part}" if facts.num_images > 1 else "which of the things {where} has {a_part}",
        "where can you see {a_part} {where}", "is there anything with {a_part} {where}", "~{where}, what comes with {a_part}", a_part=part_name(part),
        the=f"every {part}" if not is_plural_part(part) else f"all {part}", where=say.each_image(facts.num_images),
    )
    nothing = f"There {be(is_plural_part(part))} no {part}"
    return Draft(question, in_each(facts, found, "there (is)", nothing), ("part", part), 0 if facts.num_images == 1 else None)


@opening("comparison", "part", 1.0)
def shared_part(facts: Facts, say: Speaker) -> Draft | None:
    pairs = [(a, b) for a in facts.things for b in facts.things
             if (a.image_index, a.object_index) < (b.image_index, b.object_index) and a.kind != b.kind
             and len(set(KINDS[a.kind].parts) & set(KINDS[b.kind].parts)) == 1 and set(a.parts) & set(b.parts)
             and len(facts.of_kind(a.kind)) == len(facts.of_kind(b.kind)) == 1]
    if not pairs:
        return None
    a, b = say.rng.choice(pairs)
    part = next(part for part in a.parts if part in b.parts)
    question = say.ask(
        "[which|what] part do the {a} and the {b} have in common", "what do the {a} and the {b} [both have|have in common]", "which part [is found|can you find] on both the {a} and the {b}",
        "compare the {a} and the {b}: which part do they share", "name the part that the {a} shares with the {b}", "in what part are the {a} and the {b} alike",
        "~what makes the {a} similar to the {b}", a=a.kind, b=b.kind,
    )
    answer = Answer(f"Both have {part_name(part)}: ").extend(placed(mentions([a, b], part))).add(".")
    return Draft(question, answer)


@opening("comparison", "part", 1.0)
def larger_part(facts: Facts, say: Speaker) -> Draft | None:
    i = say.rng.randrange(facts.num_images)
    parts = [part for part in dict.fromkeys(p for t in facts.images[i] for p in t.parts) if len(facts.with_part(part, i)) == 2]
    if not parts:
        return None
    part = say.rng.choice(parts)
    small, big = sorted(facts.with_part(part, i), key=lambda thing: thing.obj.part_areas[part])
    if big.obj.part_areas[part] <= AREA_RATIO * small.obj.part_areas[part] or facts.has_hidden(part, i):
        return None
    question = say.ask(
        "which {part} is [larger|bigger] {where}" if not is_plural_part(part) else "which {part} are [larger|bigger] {where}", "{where}, which thing has the [larger|bigger] {part}",
        "compare the [size|sizes] of {the_parts} {where}", "[show|find|point out] the [larger|bigger] {part} {where}", "two things {where} have {a_part}: which {part} {is_} [larger|bigger]",
        "compare {the_parts} {where}", "~{where}, the {part} of which thing takes up more space", part=part, a_part=part_name(part), is_=be(is_plural_part(part)),
        the_parts=f"the {part}" if is_plural_part(part) else f"the two {KINDS_PLURAL_PARTS.get(part, part + 's')}", where=say.in_image(i, facts.num_images),
    )
    mention = Mention(big, part)
    return Draft(question, Answer(f"In image {i + 1}, the ", mention, f" {be(mention.is_plural)} larger than the ", Mention(small, part), "."))


KINDS_PLURAL_PARTS = {"body": "bodies", "leaf": "leaves"}
"""Irregular plurals of parts."""
