"""Dialogues of three turns whose last question is about a thing that no word of the dialogue names.

    Show the red mug in image 1.               In image 1, it is this [thing].
    Now what is to the left of it.             In image 1, it is this [thing].        one step from the words
    The same thing in the other image.         In image 2, it is the [blue lamp].     two steps

The thing of the second answer has a mask and no name: a reader of the words alone has to take the first step
again to know what "it" is, a reader of the mask sees it. What the last answer names was not named before.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from segue.data.language.grounded_text import GroundedSpan
from segue.scenes.kinds import KINDS, Scene
from segue.scenes.questions import Answer, Exchange, Facts, Mention, Speaker, Thing
from segue.scenes.questions.facts import beside, nearest
from segue.scenes.questions.replies import PLURAL_KINDS
from segue.scenes.render import render_scene

UNNAMED = "thing"
"""What the first two answers call what they ground."""


@dataclass(frozen=True)
class Move:
    """A way from one thing to another.

    Attributes:
        kind: Of the question; see `segue.scenes.questions`.
        patterns: Ways to ask for it, see `Speaker.ask`.
        find: The only thing that is meant from a thing on; None where there is none, or not only one.
    """

    kind: str
    patterns: tuple[str, ...]
    find: Callable[[Facts, Thing], Thing | None]


def _nearest(facts: Facts, it: Thing) -> Thing | None:
    things = facts.images[it.image_index]
    return nearest(it, things) if len(things) > 2 else None


def _beside(side: str) -> Callable[[Facts, Thing], Thing | None]:
    def find(facts: Facts, it: Thing) -> Thing | None:
        found = beside(it, facts.images[it.image_index], side)
        return found[0] if found and len(found) == 1 else None

    return find


def _other(facts: Facts, it: Thing) -> Thing | None:
    found = [thing for thing in facts.of_kind(it.kind) if thing is not it]
    return found[0] if len(found) == 1 and found[0].image_index == it.image_index else None


def _elsewhere(facts: Facts, it: Thing) -> Thing | None:
    found = [thing for thing in facts.of_kind(it.kind) if thing.image_index != it.image_index]
    return found[0] if len(found) == 1 else None


MOVES: dict[str, Move] = {
    "other": Move(
        "comparison",
        ("make it the other one", "and the other one", "[show|mark] the other one", "now the other one"),
        _other,
    ),
    "nearest": Move(
        "spatial",
        ("and the one beside it", "[now|and] the thing nearest to it", "[show|mark] what is closest to it"),
        _nearest,
    ),
    "left": Move(
        "spatial",
        (
            "now its left neighbour",
            "and what is to the left of it",
            "[show|mark] the thing to the left of it",
        ),
        _beside("left"),
    ),
    "right": Move(
        "spatial",
        (
            "now its right neighbour",
            "and what is to the right of it",
            "[show|mark] the thing to the right of it",
        ),
        _beside("right"),
    ),
    "elsewhere": Move(
        "comparison",
        (
            "the same thing in the other {image}",
            "now the same kind of thing in the other {image}",
            "and the one in the other {image}",
        ),
        _elsewhere,
    ),
}
"""Ways that the last question may go, in the order of the table."""

OUTERMOST = ("left", "right")
"""Ways that lead to the outermost thing of an image: nothing else lies on that side of the thing before.
Looking is enough to find it."""

SECOND = ("nearest", "left", "right")
"""Ways that the second question may go."""


def draw(rng: np.random.Generator, move: str, size: int, split: str) -> tuple[list[Scene], list[Exchange]]:
    """Two scenes, and a dialogue about them whose last question goes a given way.

    Scenes are drawn until one fits. Where the last question asks for another of the same kind, two kinds or
    more could be meant: which one it is cannot be seen from the scenes alone.

    Args:
        rng: All that is drawn depends on it.
        move: A key of `MOVES`.
        size: Height and width of the scenes in pixels.
        split: See `segue.scenes.render_scene`.

    Source: paper silent; ours.
    """
    while True:
        home = int(rng.integers(2))
        scenes = [
            render_scene(rng, size=size, split=split, include_kinds=kinds)
            for kinds in _kinds(rng, move, home)
        ]
        exchanges = compose([scene.objects for scene in scenes], rng, move, home)
        if exchanges is not None:
            return scenes, exchanges


def _kinds(rng: np.random.Generator, move: str, home: int) -> list[list[str]]:
    """Kinds that the two scenes have to show."""
    chosen = [list(KINDS)[int(k)] for k in rng.permutation(len(KINDS))]
    if move == "other":
        wanted: list[list[str]] = [[], []]
        wanted[home] = [chosen[0], chosen[0], chosen[1], chosen[1]]
        return wanted
    return [chosen[:3], chosen[:3]] if move == "elsewhere" else [chosen[:3], chosen[3:6]]


def compose(
    objects: Sequence[Sequence[object]], rng: np.random.Generator, move: str, home: int
) -> list[Exchange] | None:
    """Three exchanges that begin in one image; None where its things allow none.

    Args:
        objects: Of each of the two scenes.
        rng: Chooses among the dialogues that there are.
        move: The way that the last question goes.
        home: The image of the first two answers, 0-based.
    """
    facts = Facts(objects)  # type: ignore[arg-type]
    chance = random.Random(int(rng.integers(1 << 62)))
    ways = [
        (first, way, second, third)
        for first in facts.images[home]
        for way in SECOND
        if (second := MOVES[way].find(facts, first)) is not None
        and (third := MOVES[move].find(facts, second)) is not None
        and third is not first
    ]
    if not ways:
        return None
    first, way, second, third = chance.choice(ways)
    say = Speaker(chance)
    named = first.obj.phrase
    opening = say.ask("[show|find|mark] the {named} {where}", named=named, where=say.in_image(home, 2))
    return [
        _exchange(opening, Mention(first), "spatial", "named", UNNAMED),
        _exchange(say.ask(*MOVES[way].patterns), Mention(second), MOVES[way].kind, way, UNNAMED),
        _exchange(say.ask(*MOVES[move].patterns), Mention(third), MOVES[move].kind, move),
    ]


def _exchange(question: str, meant: Mention, kind: str, template: str, called: str = "") -> Exchange:
    """A question and its answer; the thing is `called` something else than its name where that is given."""
    verb = "they are" if not called and meant.thing.kind in PLURAL_KINDS else "it is"
    answer = Answer(f"In image {meant.thing.image_index + 1}, {verb} ")
    answer.say("this " if called else "the ")
    answer.ground(called or meant.phrase, meant.thing.image_index, meant)
    answer.say(".")
    return Exchange(
        question=question,
        answer=answer.text,
        spans=tuple(
            GroundedSpan(span.start, span.end, span.image_index, span.payload.referent)
            for span in answer.spans
        ),
        kind=kind,
        level="object",
        needs_images=True,
        template=template,
        is_follow_up=template != "named",
    )
