"""Answers that recur: one sentence per image, lists, and what is said when a thing is not there."""

from __future__ import annotations

import re
from collections.abc import Sequence

from segue.scenes.kinds import KINDS
from segue.scenes.questions.answers import Answer, Mention
from segue.scenes.questions.facts import Facts, Thing
from segue.scenes.questions.wording import article, be, counted_images, is_plural_part

PLURAL_KINDS = frozenset(name for name, kind in KINDS.items() if kind.plural == name and name.endswith("s"))
"""Kinds whose singular is already plural: scissors."""


def mentions(things: Sequence[Thing], part: str | None = None) -> list[Mention]:
    """Mention each thing, or the named part of each."""
    return [Mention(thing, part) for thing in things]


def no_such(kind: str, colour: str = "") -> str:
    """Say that a kind is missing: "There is no blue lamp", "There are no scissors"."""
    return f"There {be(kind in PLURAL_KINDS)} no {colour + ' ' if colour else ''}{kind}"


def one(kind: str, colour: str = "") -> str:
    """Name any one of a kind: "a mug", "an orange mug", "scissors"."""
    name = f"{colour} {kind}".strip()
    return name if kind in PLURAL_KINDS else f"{article(name)} {name}"


def part_name(part: str) -> str:
    """Name any one part: "a handle", "legs"."""
    return part if is_plural_part(part) else f"{article(part)} {part}"


def agree(question: str, kind: str) -> str:
    """Make a question about one plural kind agree: "where is the scissors" -> "where are the scissors"."""
    if kind not in PLURAL_KINDS:
        return question
    # Of all kinds only scissors are plural in the singular; hence the fixed words.
    plural = {"is": "are", "Is": "Are", "does": "do", "Does": "Do"}
    question = re.sub(
        r"\b([Ii]s|[Dd]oes) (the scissors|there)\b", lambda m: f"{plural[m[1]]} {m[2]}", question
    )
    return question.replace("where is it", "where are they")


def here(image_index: int) -> str:
    """Say where in an answer: "image 2"."""
    return f"image {image_index + 1}"


def in_one(image_index: int, found: Sequence[Mention], lead: str, absent: str = "") -> Answer:
    """Answer about one image: "In image 2, {lead} the red mug." or "{absent} in image 2."."""
    return in_each([(image_index, found)], lead, absent)


def in_each(found: Sequence[tuple[int, Sequence[Mention]]], lead: str, absent: str) -> Answer:
    """Answer about images in order, a sentence each; when nothing is found in several, in one sentence."""
    if len(found) > 1 and not any(in_this for _, in_this in found):
        return Answer(f"{absent} in any image.")
    answer = Answer()
    for image_index, in_this in found:
        answer.add(" " if answer.text else "")
        _sentence(answer, image_index, in_this, lead, absent)
    return answer


def _sentence(answer: Answer, image_index: int, found: Sequence[Mention], lead: str, absent: str) -> None:
    if not found:
        answer.add(f"{absent} in {here(image_index)}.")
        return
    verb = lead.replace("(it is)", "they are" if len(found) > 1 else "it is").replace(
        "(is)", be(found[0].is_plural)
    )
    answer.add(f"In {here(image_index)}, {verb} ")
    # "there is a red mug" makes it known; "you can use the red mug" speaks of what the viewer sees.
    introduces = "there (is)" in lead and found[0].part is None
    answer.add_list(found, article="a " if introduces else "the ").add(".")


def placed(found: Sequence[Mention], *, capital: bool = False) -> Answer:
    """List mentions with their images: "the red mug in image 1 and the blue mug and the lamp in image 2"."""
    groups: list[list[Mention]] = []
    for mention in found:
        if groups and groups[-1][0].thing.image_index == mention.thing.image_index:
            groups[-1].append(mention)
        else:
            groups.append([mention])
    answer = Answer()
    for position, group in enumerate(groups):
        if position:
            answer.add(", and " if position == len(groups) - 1 else ", ")
        lead, tail = [group[0]], group[1:]
        if capital and not position:
            answer.add("The ").add_list(lead, article="")
            if tail:
                answer.add(" and " if len(tail) == 1 else ", ").add_list(tail)
        else:
            answer.add_list(group)
        answer.add(f" in {here(group[0].thing.image_index)}")
    return answer


def everywhere(facts: Facts) -> str:
    """Name all images as a subject: "Both images", "All three images"."""
    return counted_images(facts.num_images).capitalize()
