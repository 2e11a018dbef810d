"""How long to try, how often, and how much may be spent."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from segue.errors import InputError, ModelError


@dataclass
class Budget:
    """A bound on requests and tokens, shared by everything that spends from it.

    Args:
        max_requests: None for no bound.
        max_tokens: Of prompts and replies together, as the servers count them; None for no bound.
    """

    max_requests: int | None = None
    max_tokens: int | None = None
    requests: int = 0
    tokens: int = 0

    def __post_init__(self) -> None:
        for name, bound in (("max_requests", self.max_requests), ("max_tokens", self.max_tokens)):
            if bound is not None and bound < 1:
                raise InputError(
                    "A budget allows nothing.",
                    expected=f"{name} >= 1, or None for no bound",
                    found=str(bound),
                    where="Budget",
                    fix="raise it, or leave it out",
                )

    def start_request(self) -> None:
        """Count a request that is about to be sent; ModelError when nothing is left for it."""
        for spent, bound, what in (
            (self.requests, self.max_requests, "requests"),
            (self.tokens, self.max_tokens, "tokens"),
        ):
            if bound is not None and spent >= bound:
                raise ModelError(
                    "The budget for the chat model is spent.",
                    expected=f"fewer than {bound} {what}",
                    found=f"{spent} {what}",
                    where="Budget",
                    fix="raise the budget, or ask about less",
                )
        self.requests += 1

    def count_tokens(self, number: int) -> None:
        """Add what a reply has cost."""
        self.tokens += number


@dataclass
class Patience:
    """When to try again, and when to give up.

    Waits double from `first_wait` up to `longest_wait`, each shortened by up to a quarter at random so that
    many clients do not come back at once. A server's own Retry-After is honoured as it is.

    Args:
        retries: Further attempts after the first.
        timeout: Seconds for one attempt, from connecting to the last byte.
        total: Seconds for all attempts and waits together.
        first_wait, longest_wait: Seconds.
        sleep, clock, rng: Exchanged by tests.
    """

    retries: int = 4
    timeout: float = 120.0
    total: float = 600.0
    first_wait: float = 1.0
    longest_wait: float = 30.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    rng: random.Random = field(default_factory=random.Random)

    def wait_before(self, attempt: int, retry_after: float | None) -> float:
        """Seconds to wait before attempt 1, 2, ... (0 is the first one, before which nobody waits)."""
        if retry_after is not None:
            return retry_after
        wait = min(self.longest_wait, self.first_wait * 2.0 ** (attempt - 1))
        return wait * self.rng.uniform(0.75, 1.0)


def read_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date. None for anything else."""
    if value is None:
        return None
    text = value.strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            when = parsedate_to_datetime(text)
        except (TypeError, ValueError, IndexError, OverflowError):
            return None
        when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
        seconds = (when - (now or datetime.now(UTC))).total_seconds()
    # "nan" and "inf" are numbers to Python.
    return max(0.0, seconds) if -1e9 < seconds < 1e9 else None
