"""Question templates for the scenes, in the four kinds of the task, and follow-ups."""

from segue.scenes.questions import comparison, followups, functional, numerical, others, repeats, spatial
from segue.scenes.questions.answers import Answer, Draft, Exchange, Mention, Referent
from segue.scenes.questions.facts import Facts, Thing
from segue.scenes.questions.registry import FIRST, FOLLOW_UPS, LEVELS, QUESTION_KINDS, Template
from segue.scenes.questions.wording import Speaker

__all__ = [
    "FIRST",
    "FOLLOW_UPS",
    "LEVELS",
    "QUESTION_KINDS",
    "Answer",
    "Draft",
    "Exchange",
    "Facts",
    "Mention",
    "Referent",
    "Speaker",
    "Template",
    "Thing",
    "comparison",
    "followups",
    "functional",
    "numerical",
    "others",
    "repeats",
    "spatial",
]
