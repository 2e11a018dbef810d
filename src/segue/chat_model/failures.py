"""Reasons for which no reply could be had, told apart so that long jobs know whether to wait, go on or stop.

All are `ModelError`, which is what most callers catch.
"""

from __future__ import annotations

from segue.errors import ModelError


class UnreachableError(ModelError):
    """No answer, or only passing failures (429, 5xx, timeouts), for as long as the retry policy allowed."""

    nobody_there: bool = False
    """The host is unknown, or nothing listens at its port: another request would fare no better."""


class RefusedError(ModelError):
    """The server answered that it will not do this.

    `concerns_request` tells a refusal of this one request (its size, its content) from one that the next
    request would meet as well (the key, the account, the address).
    """

    concerns_request: bool = False


class NotACompletionError(ModelError):
    """An answer arrived that is no chat completion, such as JSON that was cut off."""


class BudgetSpentError(ModelError):
    """Nothing is left to spend."""
