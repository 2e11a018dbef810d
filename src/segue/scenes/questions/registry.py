"""The table of templates: each proposes a question with its only right answer, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from segue.scenes.questions.answers import Draft
from segue.scenes.questions.facts import Facts
from segue.scenes.questions.wording import Speaker

First = Callable[[Facts, Speaker], "Draft | None"]
Later = Callable[[Facts, Speaker, Draft], "Draft | None"]

QUESTION_KINDS = ("functional", "spatial", "numerical", "comparison")
LEVELS = ("object", "part")


@dataclass(frozen=True)
class Template:
    """A named way to ask.

    Args:
        name: unique; also the name of the function.
        kind: one of ``QUESTION_KINDS``.
        level: ``object`` when the answer names whole things, ``part`` when it names parts.
        weight: how often it is tried, relative to its kind and level.
        propose: returns None when the facts allow no question with a unique answer.
    """

    name: str
    kind: str
    level: str
    weight: float
    propose: Callable[..., Draft | None]


FIRST: dict[str, Template] = {}
"""Templates that open a dialogue: ``propose(facts, speaker)``."""

FOLLOW_UPS: dict[str, Template] = {}
"""Templates that refer back: ``propose(facts, speaker, previous_draft)``."""


def opening(kind: str, level: str, weight: float = 1.0) -> Callable[[First], First]:
    """Register a template that needs no earlier turn."""

    def register(propose: First) -> First:
        FIRST[propose.__name__] = Template(propose.__name__, kind, level, weight, propose)
        return propose

    return register


def follow_up(kind: str, level: str, weight: float = 1.0) -> Callable[[Later], Later]:
    """Register a template whose question is unclear without the turn before."""

    def register(propose: Later) -> Later:
        FOLLOW_UPS[propose.__name__] = Template(propose.__name__, kind, level, weight, propose)
        return propose

    return register
