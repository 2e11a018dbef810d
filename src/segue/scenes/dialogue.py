"""Composes a grounded dialogue about one to three images from facts alone, without looking at a pixel."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import numpy as np

from segue.data.language.grounded_text import GroundedSpan
from segue.scenes.kinds import KINDS, SceneObject
from segue.scenes.questions import (
    FIRST,
    FOLLOW_UPS,
    LEVELS,
    QUESTION_KINDS,
    Draft,
    Exchange,
    Facts,
    Mention,
    Speaker,
    Template,
)
from segue.scenes.questions.comparison import contents_of
from segue.scenes.questions.replies import in_one

PART_SHARE = 0.42
"""Share of opening questions that are asked about parts."""

PART_SHARE_LATER = 0.5
"""Share of follow-ups for which templates about parts are preferred; the others prefer whole things."""

LEVEL_PULL = 4.0
"""How much heavier the templates of the preferred level count."""

OPENINGS_TRIED = 4
"""How many opening questions are tried when a follow-up is wanted and the first ones leave nothing to ask."""

MOST = 6
"""No answer names more."""

TURNS = ((1, 0.35), (2, 0.55), (3, 0.10))
"""Number of turns of a dialogue -> probability."""

_NOT_AFTER = {"what_else": "how_many_others", "how_many_others": "what_else"}
"""Follow-up -> the follow-up that has already answered it."""

_WORD = re.compile(r"[a-z]+")


def compose_dialogue(
    objects_per_image: Sequence[Sequence[SceneObject]],
    rng: np.random.Generator,
    num_turns: int | None = None,
    *,
    wording: str = "seen",
) -> list[Exchange]:
    """Ask about a set of images, and answer: the answer is the only right one for these facts.

    Args:
        objects_per_image: what each of the 1 to 9 images shows.
        rng: source of every choice; the same state gives the same dialogue.
        num_turns: number of exchanges wished for; None draws 1 (35 %), 2 (55 %) or 3 (10 %). Fewer come back
            when nothing more can be asked about what was said.
        wording: ``"seen"``, ``"unseen"`` (wordings kept out of training) or ``"all"``.

    Returns:
        At least one exchange; all but the first refer back.

    Source: paper silent; ours.
    """
    chance = random.Random(int(rng.integers(1 << 62)))
    facts, say = Facts(objects_per_image), Speaker(chance, wording)
    if num_turns is None:
        num_turns = chance.choices([n for n, _ in TURNS], [p for _, p in TURNS])[0]
    for _ in range(OPENINGS_TRIED if num_turns > 1 else 1):
        exchanges = _dialogue(facts, say, num_turns)
        if len(exchanges) >= num_turns:
            break
    return exchanges


def _dialogue(facts: Facts, say: Speaker, num_turns: int) -> list[Exchange]:
    template, draft = _open(facts, say)
    exchanges = [_exchange(template, draft, "", False)]
    while len(exchanges) < num_turns:
        said = " ".join(f"{e.question} {e.answer}" for e in exchanges)
        found = _follow(facts, say, draft, {e.template for e in exchanges}, {e.answer for e in exchanges})
        if found is None:
            break
        template, draft = found
        exchanges.append(_exchange(template, draft, said, True))
    return exchanges


def _shuffled(templates: Sequence[Template], chance: random.Random, level: str = "") -> list[Template]:
    """Order templates at random, heavy ones and those of the level tending to the front."""
    return sorted(
        templates,
        # u ** (1 / w) of uniform u, the highest first: a draw without replacement by weight (Efraimidis and
        # Spirakis, 2006).
        key=lambda t: -(chance.random() ** (1.0 / (t.weight * (LEVEL_PULL if t.level == level else 1.0)))),
    )


_FIRST_BY_CELL = {
    (k, v): [t for t in FIRST.values() if (t.kind, t.level) == (k, v)] for k in QUESTION_KINDS for v in LEVELS
}


def _open(facts: Facts, say: Speaker) -> tuple[Template, Draft]:
    kinds = list(QUESTION_KINDS)
    say.rng.shuffle(kinds)
    levels = ("part", "object") if say.rng.random() < PART_SHARE else ("object", "part")
    # Levels outside, kinds inside: the share of parts holds whichever kinds the facts allow.
    for level in levels:
        for kind in kinds:
            for template in _shuffled(_FIRST_BY_CELL[kind, level], say.rng):
                draft = template.propose(facts, say)
                if draft is not None and _is_sound(facts, draft):
                    return template, draft
    return FIRST["contents"], _fallback(facts, say)


def _fallback(facts: Facts, say: Speaker) -> Draft:
    """Describe an image with at most four things, or name the four leftmost things of the first one."""
    for i, things in enumerate(facts.images):
        if len(things) <= 4:
            draft = contents_of(facts, say, i)
            if draft is not None:
                return draft
    question = say.ask("which four things are furthest left {where}", where=say.in_image(0, facts.num_images))
    first_four = [Mention(thing) for thing in facts.images[0][:4]]
    return Draft(question, in_one(0, first_four, "there (is)"))


def _follow(
    facts: Facts, say: Speaker, draft: Draft, used: set[str], said: set[str]
) -> tuple[Template, Draft] | None:
    level = "part" if say.rng.random() < PART_SHARE_LATER else "object"
    for template in _shuffled(tuple(FOLLOW_UPS.values()), say.rng, level):
        if template.name in used or _NOT_AFTER.get(template.name) in used:
            continue
        proposal = template.propose(facts, say, draft)
        if proposal is not None and _is_sound(facts, proposal) and proposal.answer.text not in said:
            return template, proposal
    return None


def _is_sound(facts: Facts, draft: Draft) -> bool:
    """Tell whether every phrase names exactly one thing of its image and there are not too many."""
    mentions = draft.answer.mentions
    return len(mentions) <= MOST and all(facts.is_unique(mention.thing) for mention in mentions)


def _exchange(template: Template, draft: Draft, said: str, is_follow_up: bool) -> Exchange:
    answer = draft.answer
    return Exchange(
        question=draft.question,
        answer=answer.text,
        spans=tuple(
            GroundedSpan(span.start, span.end, span.image_index, span.payload.referent)
            for span in answer.spans
        ),
        kind=template.kind,
        level=template.level,
        needs_images=needs_images([m.thing.obj for m in answer.mentions], f"{said} {draft.question}"),
        template=template.name,
        is_follow_up=is_follow_up,
    )


def needs_images(named: Sequence[SceneObject], said: str) -> bool:
    """Tell whether the colour and kind of some named object were not said together before.

    "red mug", "red mug's handle" and "red mugs" all give away a red mug.
    """
    # Words between blanks: " red mug " is not found in "hatred mugs".
    text = f" {' '.join(_WORD.findall(said.lower()))} "
    return any(
        f" {obj.phrase} " not in text and f" {obj.colour} {KINDS[obj.kind].plural} " not in text
        for obj in named
    )


__all__ = ["Exchange", "compose_dialogue", "needs_images"]
