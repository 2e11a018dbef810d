"""All questions about lists of findings, and how often each is asked."""

from __future__ import annotations

from segue.mini.talk.contents import ContentQuestions
from segue.mini.talk.instances import InstanceQuestions
from segue.mini.talk.marked import MarkedQuestions
from segue.mini.talk.things import ThingQuestions

WEIGHTS: dict[str, float] = {
    **{"find": 5, "where": 5, "which": 8, "exists": 4, "two": 1.5, "list": 4, "count": 2, "sizes": 1.5},
    **{
        "common": 1,
        "differ": 1,
        "only": 1,
        "instance": 4,
        "both": 0.7,
        "every": 1.5,
        "everywhere": 1,
        "colour": 0.7,
        "largest": 1,
        "place": 1,
        "beside": 1.5,
    },
    **{"parts": 2.5, "purpose": 2.5, "broad": 2.5, "world": 1.8, "unheard": 1.3},
    **{"find_each": 2, "count_all": 2, "compare": 2, "wears": 1, "worn": 0.4},
}
"""How often each kind is asked, in words."""

MARKED: dict[str, float] = {"marked_find": 3, "marked_what": 1.2, "marked_part": 0.5, "marked_alike": 0.5}
"""The same of kinds that point at a region."""

MARKED_SHARE = 0.08
"""Share of questions that point."""


class Questions(ThingQuestions, ContentQuestions, InstanceQuestions, MarkedQuestions):
    """Asks about one set of images."""
