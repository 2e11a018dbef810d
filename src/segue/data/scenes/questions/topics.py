"""Questions about one image that can be asked again about another: "what about image 2?".

A topic is a tuple of strings such as ``("count", "mug")``; its resolver answers it for any image, or returns None
where the facts leave the answer unclear.
"""

from __future__ import annotations

from collections.abc import Callable

from segue.data.scenes.kinds import KINDS, SHARED
from segue.data.scenes.questions.answers import Answer, Mention
from segue.data.scenes.questions.facts import Facts, Thing, extreme, largest, smallest
from segue.data.scenes.questions.replies import here, in_one, mentions, no_such, part_name
from segue.data.scenes.questions.wording import be, number

OUTERMOST = {"left": "leftmost", "right": "rightmost", "above": "topmost", "below": "lowest"}
NOTHING = "There is nothing for that"


def serving(facts: Facts, purpose: str, image_index: int) -> list[Thing]:
    """Return the things of an image that serve a purpose, be it of one kind or shared by several."""
    kinds = SHARED.get(purpose)
    if kinds is None:
        return facts.by_purpose(purpose, image_index)
    return [thing for thing in facts.images[image_index] if thing.kind in kinds]


def part_for(thing: Thing, purpose: str) -> str | None:
    """Return the visible part of a thing that serves a part purpose."""
    for part in thing.parts:
        if purpose in KINDS[thing.kind].part_purposes.get(part, ()):
            return part
    return None


def hides_part_for(thing: Thing, purpose: str) -> bool:
    """Tell whether the thing has a part for this purpose that cannot be seen."""
    purposes = KINDS[thing.kind].part_purposes
    return any(purpose in served and part not in thing.parts for part, served in purposes.items())


def parts_serving(facts: Facts, purpose: str, image_index: int) -> list[Mention] | None:
    """Mention the parts of an image that serve a purpose; None when one of them is hidden."""
    found = []
    for thing in facts.images[image_index]:
        if hides_part_for(thing, purpose):
            return None
        part = part_for(thing, purpose)
        if part is not None:
            found.append(Mention(thing, part))
    return found


def _purpose(facts: Facts, image_index: int, purpose: str) -> Answer:
    return in_one(image_index, mentions(serving(facts, purpose, image_index)), "you can use", NOTHING)


def _part_purpose(facts: Facts, image_index: int, purpose: str) -> Answer | None:
    found = parts_serving(facts, purpose, image_index)
    return None if found is None else in_one(image_index, found, "you can use", NOTHING)


def _extreme(facts: Facts, image_index: int, side: str) -> Answer | None:
    thing = extreme(facts.images[image_index], side) if len(facts.images[image_index]) > 1 else None
    return None if thing is None else in_one(image_index, mentions([thing]), "(it is)", "")


def _largest(facts: Facts, image_index: int) -> Answer | None:
    thing = largest(facts.images[image_index]) if len(facts.images[image_index]) > 1 else None
    return None if thing is None else in_one(image_index, mentions([thing]), "(it is)", "")


def _smallest(facts: Facts, image_index: int) -> Answer | None:
    thing = smallest(facts.images[image_index]) if len(facts.images[image_index]) > 1 else None
    return None if thing is None else in_one(image_index, mentions([thing]), "(it is)", "")


def _kind(facts: Facts, image_index: int, kind: str) -> Answer:
    return in_one(image_index, mentions(facts.of_kind(kind, image_index)), "there (is)", no_such(kind))


def _colour(facts: Facts, image_index: int, colour: str) -> Answer:
    found = [thing for thing in facts.images[image_index] if thing.colour == colour]
    return in_one(image_index, mentions(found), "there (is)", f"There is nothing {colour}")


def _part(facts: Facts, image_index: int, part: str) -> Answer | None:
    if facts.has_hidden(part, image_index):
        return None
    found = mentions(facts.with_part(part, image_index), part)
    return in_one(image_index, found, "there (is)", f"There {be(part.endswith('s'))} no {part}")


def counted(found: list[Mention], nothing: str, where: str = "") -> Answer:
    """Answer "how many": "Two: the red mug and the blue mug.", or the sentence for none."""
    if not found:
        return Answer(nothing)
    return Answer(f"{number(len(found)).capitalize()}: ").add_list(found).add(f"{where}.")


def _count(facts: Facts, image_index: int, kind: str) -> Answer:
    found = mentions(facts.of_kind(kind, image_index))
    return counted(found, f"{no_such(kind)} in {here(image_index)}.", f" in {here(image_index)}")


def _count_part(facts: Facts, image_index: int, part: str) -> Answer | None:
    if facts.has_hidden(part, image_index):
        return None
    found = mentions(facts.with_part(part, image_index), part)
    return counted(found, f"Nothing in {here(image_index)} has {part_name(part)}.", f" in {here(image_index)}")


def _contents(facts: Facts, image_index: int) -> Answer | None:
    things = facts.images[image_index]
    return in_one(image_index, mentions(things), "there (is)", "There is nothing") if len(things) <= 4 else None


def _part_of_kind(facts: Facts, image_index: int, kind: str, part: str) -> Answer | None:
    things = facts.of_kind(kind, image_index)
    if any(part not in thing.parts for thing in things):
        return None
    return in_one(image_index, mentions(things, part), "(it is)", no_such(kind))


TOPICS: dict[str, Callable[..., Answer | None]] = {
    "purpose": _purpose,
    "part_purpose": _part_purpose,
    "extreme": _extreme,
    "largest": _largest,
    "smallest": _smallest,
    "kind": _kind,
    "colour": _colour,
    "part": _part,
    "count": _count,
    "count_part": _count_part,
    "contents": _contents,
    "part_of_kind": _part_of_kind,
}
"""Resolver of each topic: ``resolver(facts, image_index, *arguments)``."""

PART_TOPICS = frozenset({"part_purpose", "part", "count_part", "part_of_kind"})
"""Topics whose answers name parts."""


def resolve(facts: Facts, topic: tuple[str, ...], image_index: int) -> Answer | None:
    """Answer a topic for one image."""
    return TOPICS[topic[0]](facts, image_index, *topic[1:])

