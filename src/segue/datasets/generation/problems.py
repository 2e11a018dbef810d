"""Problems of replies and items; the values are stable, since reports count them."""

from __future__ import annotations

from enum import StrEnum


class Problem(StrEnum):
    """Why a reply is of no use, or why an item was given up."""

    REFUSED = "refused"
    """The model, or a filter of the server, would not answer."""
    EMPTY = "empty"
    """A reply without text."""
    CUT_OFF = "cut_off"
    """The token budget of the reply ended it."""
    NOT_JSON = "not_json"
    """Text that holds no JSON object."""
    WRONG_SHAPE = "wrong_shape"
    """JSON of another schema."""
    WRONG_CONTENT = "wrong_content"
    """The right shape, but the step's own rules are broken."""
    NO_ANSWER = "no_answer"
    """No reply could be had in several rounds. Not final: a later run asks again."""
    REQUEST_REFUSED = "request_refused"
    """The server refuses this one request, for example as too large. Not final: a later run asks again."""
    UNUSABLE_ITEM = "unusable_item"
    """The item itself cannot be asked about, for example because its image is damaged."""


PASSING = frozenset({Problem.NO_ANSWER, Problem.REQUEST_REFUSED})
"""Problems of the endpoint rather than of the item; they are not remembered."""


class UnusableReplyError(Exception):
    """A reply is of no use. Raised by `Ask.check`, caught by the engine, never seen by users.

    Args:
        problem: The kind.
        reason: What is wrong, as one would tell the model: "question 2 names the focus, 'red mug'".
        rule: Short fixed name of the broken rule, fit for counting, such as "focus leaked"; by default the
            problem's own value.
    """

    def __init__(self, problem: Problem, reason: str, rule: str = "") -> None:
        super().__init__(reason)
        self.problem, self.reason, self.rule = problem, reason, rule or problem.value


def broken(rule: str, reason: str) -> UnusableReplyError:
    """Word a broken rule of a step, to be raised: rule "focus leaked", reason "question 2 names the mug"."""
    return UnusableReplyError(Problem.WRONG_CONTENT, reason, rule)


class UnusableItemError(Exception):
    """An item cannot be asked about at all. Raised by `GenerationJob.make`; the item goes to quarantine."""
