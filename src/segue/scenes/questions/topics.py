"""Questions that can be put to one image or to all, and put again ("what about image 2?").

A topic is a tuple of strings such as ``("count", "mug")``. `resolve` answers it for one image or for the set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from segue.data.language.english import number
from segue.scenes.kinds import KINDS, SHARED
from segue.scenes.questions.answers import Answer, Mention
from segue.scenes.questions.facts import AREA_RATIO, Facts, Thing, extreme, largest, smallest
from segue.scenes.questions.replies import in_each, mentions, no_such
from segue.scenes.questions.wording import be, is_plural_part

Found = list[Mention] | None
NOTHING = "There is nothing for that"


@dataclass(frozen=True)
class Topic:
    """How to answer one sort of question.

    Args:
        find: ``find(facts, image_index, *arguments)`` returns what to name, or None where that is unclear.
        lead: what stands before the phrases; ``(is)`` becomes is or are, ``(it is)`` it is or they are.
        absent: what is said of an image where nothing is found, given the arguments.
        level: ``object`` or ``part``.
        counts: whether the answer ends in the number of phrases.
    """

    find: Callable[..., Found]
    lead: str
    absent: Callable[..., str]
    level: str = "object"
    counts: bool = False


def serving(facts: Facts, image_index: int, purpose: str) -> list[Thing]:
    """Return the things of an image that serve a purpose, be it of one kind or shared by several."""
    kinds = SHARED.get(purpose)
    if kinds is None:
        return [thing for thing in facts.images[image_index] if purpose in KINDS[thing.kind].purposes]
    return [thing for thing in facts.images[image_index] if thing.kind in kinds]


def parts_serving(facts: Facts, image_index: int, purpose: str) -> Found:
    """Mention the parts of an image that serve a purpose; None when one of them is hidden."""
    found = []
    for thing in facts.images[image_index]:
        for part, served in KINDS[thing.kind].part_purposes.items():
            if purpose in served:
                if part not in thing.parts:
                    return None
                found.append(Mention(thing, part))
    return found


def superlative(things: list[Thing], which: str) -> Thing | None:
    """Return the outermost thing on a side, or the largest or smallest; None where unclear or alone."""
    if len(things) < 2:
        return None
    return (
        largest(things)
        if which == "largest"
        else smallest(things)
        if which == "smallest"
        else extreme(things, which)
    )


def largest_part(thing: Thing) -> str | None:
    """Return the part that clearly covers most of a thing, or None."""
    ranked = sorted(thing.parts, key=lambda part: -thing.obj.part_areas[part])
    if not ranked:
        return None
    clear = len(ranked) == 1 or thing.obj.part_areas[ranked[0]] > AREA_RATIO * thing.obj.part_areas[ranked[1]]
    return ranked[0] if clear else None


def _superlative(facts: Facts, i: int, which: str) -> Found:
    thing = superlative(facts.images[i], which)
    return None if thing is None else [Mention(thing)]


def _with_part(facts: Facts, i: int, part: str) -> Found:
    return None if facts.is_unclear(part, i) else mentions(facts.with_part(part, i), part)


def _part_of_kind(facts: Facts, i: int, kind: str, part: str) -> Found:
    things = facts.of_kind(kind, i)
    # A thing whose part is hidden would be missing in the answer.
    return mentions(things, part) if all(part in thing.parts for thing in things) else None


def _largest_part(facts: Facts, i: int, kind: str) -> Found:
    found = [(thing, largest_part(thing)) for thing in facts.of_kind(kind, i)]
    return None if any(part is None for _, part in found) else [Mention(thing, part) for thing, part in found]


def _of_kind(facts: Facts, i: int, kind: str) -> Found:
    return mentions(facts.of_kind(kind, i))


def _coloured(facts: Facts, i: int, colour: str) -> Found:
    return mentions([thing for thing in facts.images[i] if thing.colour == colour])


def _contents(facts: Facts, i: int) -> Found:
    return mentions(facts.images[i]) if len(facts.images[i]) <= 4 else None


def _no_part(part: str) -> str:
    return f"There {be(is_plural_part(part))} no {part}"


def _no_colour(colour: str) -> str:
    return f"There is nothing {colour}"


TOPICS: dict[str, Topic] = {
    "purpose": Topic(
        lambda f, i, purpose: mentions(serving(f, i, purpose)), "you can use", lambda _: NOTHING
    ),
    "part_purpose": Topic(parts_serving, "you can use", lambda _: NOTHING, "part"),
    "part_of_kind": Topic(_part_of_kind, "you can see", lambda kind, _: no_such(kind), "part"),
    "useful_part": Topic(_part_of_kind, "you can use", lambda kind, _: no_such(kind), "part"),
    "largest_part": Topic(_largest_part, "(it is)", no_such, "part"),
    "superlative": Topic(_superlative, "(it is)", lambda _: ""),
    "kind": Topic(_of_kind, "there (is)", no_such),
    "part": Topic(_with_part, "you can see", _no_part, "part"),
    "contents": Topic(_contents, "there (is)", lambda: "There is nothing"),
    "count": Topic(_of_kind, "there (is)", no_such, counts=True),
    "count_part": Topic(_with_part, "you can see", _no_part, "part", counts=True),
    "count_colour": Topic(_coloured, "there (is)", _no_colour, counts=True),
    "count_contents": Topic(_contents, "there (is)", lambda: "There is nothing", counts=True),
}


def resolve(facts: Facts, topic: tuple[str, ...], image_index: int | None) -> Answer | None:
    """Answer a topic for one image, or for every image when ``image_index`` is None.

    ``("count", "mug")`` over two images ->
    "In image 1, there is a red mug. There is no mug in image 2. That makes one."
    """
    name, *arguments = topic
    rule = TOPICS[name]
    chosen = range(facts.num_images) if image_index is None else (image_index,)
    found = [(i, rule.find(facts, i, *arguments)) for i in chosen]
    if any(in_this is None for _, in_this in found):
        return None
    answer = in_each([(i, in_this or []) for i, in_this in found], rule.lead, rule.absent(*arguments))
    if rule.counts and answer.mentions:
        # After the list, not before: the number is then what a reader of the phrases can count.
        answer.add(f" That makes {number(len(answer.mentions))}.")
    return answer
