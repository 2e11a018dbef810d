"""Open-ended comparison: what images and things share, and how they differ."""

from __future__ import annotations

from functools import cache
from itertools import combinations

from segue.scenes.kinds import COLOURS, KINDS
from segue.scenes.questions.answers import Answer, Draft, Mention
from segue.scenes.questions.facts import AREA_RATIO, VAGUE_PARTS, Facts, Thing
from segue.scenes.questions.functional import scope, things_in
from segue.scenes.questions.numerical import choose_kind, choose_part
from segue.scenes.questions.registry import opening
from segue.scenes.questions.replies import (
    agree,
    everywhere,
    in_each,
    in_one,
    mentions,
    no_such,
    one,
    part_name,
    placed,
)
from segue.scenes.questions.topics import resolve
from segue.scenes.questions.wording import Speaker, be, is_plural_part, plural_of_part


@opening("comparison", "object", 0.5)
def contents(facts: Facts, say: Speaker) -> Draft | None:
    """What is in image 1?"""
    return contents_of(facts, say, say.rng.randrange(facts.num_images))


def contents_of(facts: Facts, say: Speaker, i: int) -> Draft | None:
    """Ask what an image shows: always possible where there are at most four things."""
    question = say.ask(
        "what is {where}",
        "what [can|do] you see {where}",
        "[describe|list|name] [the things|the objects|everything|what is] {where}",
        "which [things|objects] are [there |]{where}",
        "what does {image_i} show",
        "[tell me|say] what is {where}",
        "~give me an account of {image_i}",
        where=say.in_image(i, facts.num_images),
        image_i=say.image(i, facts.num_images),
    )
    answer = resolve(facts, ("contents",), i)
    return None if answer is None else Draft(question, answer, ("contents",), i)


def _in_all(facts: Facts, kind: str, part: str | None = None) -> Answer:
    found = [(i, mentions(facts.of_kind(kind, i), part)) for i in range(facts.num_images)]
    return in_each(found, "there (is)" if part is None else "you can see", no_such(kind))


@opening("comparison", "object", 1.6)
def compare_kind(facts: Facts, say: Speaker) -> Draft | None:
    """How do the mugs differ?"""
    shared = [kind for kind in facts.kinds if len(facts.of_kind(kind)) > 1]
    if not shared:
        return None
    kind = say.rng.choice(shared)
    question = say.ask(
        "compare the {kinds}",
        "how do the {kinds} differ",
        "what is the difference between the {kinds} {where}",
        "compare the {kinds} {where}",
        "are the {kinds} {where} [alike|the same|of the same colour]",
        "how are the {kinds} {where} different",
        "do the {kinds} have the same colour",
        "~what sets the {kinds} apart",
        "~tell the {kinds} {where} apart",
        kinds=KINDS[kind].plural,
        where=say.among(facts.num_images),
    )
    colours = {thing.colour for thing in facts.of_kind(kind)}
    every = "both" if len(facts.of_kind(kind)) == 2 else "all"
    end = f"They are {every} {next(iter(colours))}." if len(colours) == 1 else "They differ in colour."
    return Draft(question, _in_all(facts, kind).add(f" {end}"), ("kind", kind))


@opening("comparison", "object", 1.4)
def shared_kinds(facts: Facts, say: Speaker) -> Draft | None:
    """What do the images have in common?"""
    if facts.num_images < 2:
        return None
    shared = [kind for kind in facts.kinds if all(facts.of_kind(kind, i) for i in range(facts.num_images))]
    # "Nothing in common" is true of most sets, and would be asked far too often.
    if len(shared) > 2 or (not shared and say.rng.random() < 0.85):
        return None
    every = "both" if facts.num_images == 2 else "all"
    question = say.ask(
        "what do the {images} have in common",
        "which kind of [thing|object] is in every {image}",
        f"what [appears|is shown|is] in {every} {{images}}",
        f"what do {every} {{images}} show",
        "what kind of [thing|object] do the {images} share",
        "[find|name|show] what the {images} [have in common|share]",
        "what can you find in every {image}",
        "~what links the {images}",
        "~what keeps coming back from {image} to {image}",
    )
    if not shared:
        return Draft(question, Answer("No kind of thing is in every image."))
    answer = Answer()
    for position, kind in enumerate(shared):
        answer.add(" " if position else "", f"{everywhere(facts)} show {one(kind)}: ")
        answer.extend(placed(mentions(facts.of_kind(kind)))).add(".")
    return Draft(question, answer, ("kind", shared[0]) if len(shared) == 1 else ())


@opening("comparison", "object")
def only_in_one(facts: Facts, say: Speaker) -> Draft | None:
    """What is in image 1 but not in image 2?"""
    if facts.num_images < 2:
        return None
    i, other = say.rng.sample(range(facts.num_images), 2)
    there = {thing.kind for thing in facts.images[other]}
    found = mentions([thing for thing in facts.images[i] if thing.kind not in there])
    if not 1 <= len(found) <= 3:
        return None
    question = say.ask(
        "what is in {this} but not in {that}",
        "which kinds of [things|objects] in {this} are missing [in|from] {that}",
        "what does {this} show that {that} does not",
        "what can you find in {this} but not in {that}",
        "compare {this} with {that}: what is only in {this}",
        "what [is missing in|does not appear in] {that} but is in {this}",
        "~what would you lose going from {this} to {that}",
        this=say.image(i, facts.num_images),
        that=say.image(other, facts.num_images),
    )
    return Draft(question, in_one(i, found, f"unlike in image {other + 1}, there (is)"))


@opening("comparison", "object")
def same_colour(facts: Facts, say: Speaker) -> Draft | None:
    """Which things have the same colour?"""
    groups: dict[str, list[Thing]] = {}
    for thing in facts.things:
        groups.setdefault(thing.colour, []).append(thing)
    shared = [things for things in groups.values() if len(things) > 1]
    # With two colours that repeat, the answer would be one of two.
    if len(shared) != 1 or len(shared[0]) > 4:
        return None
    question = say.ask(
        "which [things|objects] have the same colour",
        "what has the same colour {where}",
        "which [things|objects|items] {where} share a colour",
        "[find|show|point out] [the things|the objects|what is] of the same colour {where}",
        "which [things|objects] {where} match in colour",
        "are there [things|objects] of the same colour {where}",
        "~which of the things {where} would match",
        where=say.among(facts.num_images),
    )
    found, every = mentions(shared[0]), "both" if len(shared[0]) == 2 else "all"
    return Draft(question, placed(found, capital=True).add(f" are {every} {shared[0][0].colour}."))


@opening("comparison", "object")
def larger_of_two(facts: Facts, say: Speaker) -> Draft | None:
    """Which is larger in image 1, the mug or the lamp?"""
    i = say.rng.randrange(facts.num_images)
    # One of its kind in the image, since the question names kinds alone.
    single = [thing for thing in facts.images[i] if len(facts.of_kind(thing.kind, i)) == 1]
    if len(single) < 2:
        return None
    first, second = say.rng.sample(single, 2)
    big, small = (first, second) if first.area > second.area else (second, first)
    if big.area <= AREA_RATIO * small.area:
        return None
    question = say.ask(
        "which is [larger|bigger] {where}, the {one} or the {two}",
        "{where}, what is [larger|bigger]: the {one} or the {two}",
        "compare the sizes of the {one} and the {two} {where}",
        "is the {one} [larger|bigger] than the {two} {where}",
        "which takes up more space {where}, the {one} or the {two}",
        "of the {one} and the {two} {where}, which is the [larger|bigger] one",
        "~how do the {one} and the {two} {where} compare in size",
        one=first.kind,
        two=second.kind,
        where=say.in_image(i, facts.num_images),
    )
    verb = be(Mention(big).is_plural)
    answer = Answer(f"In image {i + 1}, the ", Mention(big), f" {verb} larger than the ", Mention(small), ".")
    return Draft(agree(question, first.kind), answer)


@opening("comparison", "object", 0.9)
def presence_of_kind(facts: Facts, say: Speaker) -> Draft | None:
    """Which images show a mug?"""
    i = scope(facts, say, 0.25)
    kind = choose_kind(say, facts.things)
    topic = ("kind", kind)
    answer = resolve(facts, topic, i)
    if answer is None:
        return None
    return Draft(_ask_presence(facts, say, i, kind, one(kind)), answer, topic, i)


@opening("comparison", "object", 0.5)
def presence_of_coloured_kind(facts: Facts, say: Speaker) -> Draft | None:
    """Is there a blue lamp in each image? Where it is not, another colour may be."""
    if not facts.things:
        return None
    kind = say.rng.choice(facts.things).kind
    i = scope(facts, say, 0.25)
    colour = (
        say.rng.choice(tuple(COLOURS))
        if say.rng.random() < 0.7
        else say.rng.choice(facts.of_kind(kind)).colour
    )
    name = one(kind, colour)
    images = range(facts.num_images) if i is None else (i,)
    return Draft(_ask_presence(facts, say, i, kind, name), coloured_presence(facts, images, kind, colour))


def _ask_presence(facts: Facts, say: Speaker, i: int | None, kind: str, name: str) -> str:
    several = i is None and facts.num_images > 1
    question = say.ask(
        "which {images} show {name}" if several else "does {image_i} show {name}",
        "in which {images} [is there|can you see|do you see] {name}"
        if several
        else "do you see {name} {where}",
        "is there {name} {where}",
        "[find|show me|look for] {name} {where}",
        "[do you see|can you see|can you find] {name} {where}",
        "{where}, is there {name}",
        "~i am looking for {name}, what do you find {where}",
        name=name,
        where=say.where(i, facts.num_images),
        image_i=say.image(i or 0, facts.num_images),
    )
    return agree(question, kind)


def coloured_presence(facts: Facts, images: range | tuple[int, ...], kind: str, colour: str) -> Answer:
    """Answer for each image: "There is no blue lamp in image 2, only a red lamp."."""
    answer = Answer()
    for i in images:
        answer.add(" " if answer.text else "")
        things = facts.of_kind(kind, i)
        found = mentions([thing for thing in things if thing.colour == colour])
        if found:
            answer.extend(in_one(i, found, "there (is)"))
            continue
        answer.add(f"{no_such(kind, colour)} in image {i + 1}")
        if things:
            answer.add(", only ").add_list(mentions(things), article="a ")
        answer.add(".")
    return answer


@opening("comparison", "part", 1.4)
def compare_part_of_kind(facts: Facts, say: Speaker) -> Draft | None:
    """Compare the handles of the mugs."""
    choices = [
        (kind, part)
        for kind in facts.kinds
        if 2 <= len(facts.of_kind(kind)) <= 4
        for part in KINDS[kind].parts
        if all(part in thing.parts for thing in facts.of_kind(kind))
    ]
    if not choices:
        return None
    kind, part = say.rng.choice(choices)
    question = say.ask(
        "compare the {parts} of the {kinds}",
        "how do the {parts} of the {kinds} differ",
        "compare the {parts} of the {kinds} {where}",
        "[show|find|point out] the {parts} of the {kinds} and compare them",
        "what is the difference between the {parts} of the {kinds}",
        "compare the {kinds} {where} by their {parts}",
        "~what about the {parts} sets the {kinds} apart",
        parts=plural_of_part(part),
        kinds=KINDS[kind].plural,
        where=say.among(facts.num_images),
    )
    same = len({thing.colour for thing in facts.of_kind(kind)}) == 1
    plural = KINDS[kind].plural
    end = f" The {plural} have the same colour." if same else f" The {plural} differ in colour."
    return Draft(question, _in_all(facts, kind, part).add(end), ("part_of_kind", kind, part))


@opening("comparison", "part", 1.4)
def things_with_part(facts: Facts, say: Speaker) -> Draft | None:
    """What has a handle in each image?"""
    i = scope(facts, say, 0.3)
    part = choose_part(say, things_in(facts, i))
    topic = ("part", part)
    answer = resolve(facts, topic, i)
    if answer is None:
        return None
    several = i is None
    question = say.ask(
        "what has {a_part} {where}",
        "which [thing|object] has {a_part} {where}",
        "{where}, which [things|objects] can you find with {a_part}",
        "[find|show|point out|mark] {every} {where}",
        "compare the {images}: what has {a_part}" if several else "which of the things {where} has {a_part}",
        "where can you see {a_part} {where}",
        "is there anything with {a_part} {where}",
        "~{where}, what comes with {a_part}",
        a_part=part_name(part),
        every=f"all {part}" if is_plural_part(part) else f"every {part}",
        where=say.where(i, facts.num_images),
    )
    return Draft(question, answer, topic, i)


@cache
def _only_shared_part(kind: str, other: str) -> tuple[str, ...]:
    """Return the part that two kinds share, alone in a tuple; empty when they share none or several."""
    shared = tuple(
        part for part in KINDS[kind].parts if part in KINDS[other].parts and part not in VAGUE_PARTS
    )
    # With two parts in common the answer would be one of two.
    return shared if len(shared) == 1 and kind != other else ()


@opening("comparison", "part", 1.1)
def shared_part(facts: Facts, say: Speaker) -> Draft | None:
    """Which part do the mug and the bucket have in common?"""
    single = [thing for thing in facts.things if len(facts.of_kind(thing.kind)) == 1]
    pairs = [
        (a, b, part)
        for a, b in combinations(single, 2)
        for part in _only_shared_part(a.kind, b.kind)
        if part in a.parts and part in b.parts
    ]
    if not pairs:
        return None
    a, b, part = say.rng.choice(pairs)
    question = say.ask(
        "[which|what] part do the {a} and the {b} have in common",
        "what do the {a} and the {b} [both have|have in common]",
        "which part can you find on both the {a} and the {b}",
        "compare the {a} and the {b}: which part do they share",
        "name the part that the {a} [shares|has in common] with the {b}",
        "in what part are the {a} and the {b} alike",
        "~what makes the {a} similar to the {b}",
        a=a.kind,
        b=b.kind,
    )
    return Draft(
        question, Answer(f"Both have {part_name(part)}: ").extend(placed(mentions([a, b], part))).add(".")
    )


@opening("comparison", "part", 1.1)
def larger_part(facts: Facts, say: Speaker) -> Draft | None:
    """Which handle is larger in image 1?"""
    i = say.rng.randrange(facts.num_images)
    parts = [part for part in facts.parts_in(i) if len(facts.with_part(part, i)) == 2]
    if not parts:
        return None
    part = say.rng.choice(parts)
    small, big = sorted(facts.with_part(part, i), key=lambda thing: thing.obj.part_areas[part])
    if big.obj.part_areas[part] <= AREA_RATIO * small.obj.part_areas[part] or facts.is_unclear(part, i):
        return None
    plural = is_plural_part(part)
    question = say.ask(
        "which {part} {is_} [larger|bigger] {where}",
        "{where}, which [thing|object] has the [larger|bigger] {part}",
        "compare the sizes of the {parts} {where}",
        "[show|find|point out] the [larger|bigger] {part} {where}",
        "two things {where} have {a_part}: which {part} {is_} [larger|bigger]",
        "compare the {parts} {where}",
        "~{where}, which {part} take up more space"
        if plural
        else "~{where}, which {part} takes up more space",
        part=part,
        a_part=part_name(part),
        is_=be(plural),
        parts=plural_of_part(part),
        where=say.in_image(i, facts.num_images),
    )
    answer = Answer(
        f"In image {i + 1}, the ",
        Mention(big, part),
        f" {be(plural)} larger than the ",
        Mention(small, part),
        ".",
    )
    return Draft(question, answer)
