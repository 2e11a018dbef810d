"""Limits of what is asked of a server: how often a request is tried, at which rate, and for how much in all.

`RetryPolicy` concerns one request, `RateLimiter` the requests of many threads, `Budget` everything together.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from segue.chat_model.failures import BudgetSpentError
from segue.errors import InputError


@dataclass(frozen=True)
class Prices:
    """Prices of a million tokens, in any one currency."""

    prompt: float
    completion: float

    @classmethod
    def parse(cls, text: str) -> Prices:
        """Read `2.5,10`: of a million prompt tokens, and of a million completion tokens.

        Raises:
            InputError: The prices cannot be read.
        """
        try:
            prompt, completion = (float(price) for price in text.split(","))
            # "nan" and "inf" are numbers to Python.
            if not (0 <= prompt < float("inf") and 0 <= completion < float("inf")):
                raise ValueError
        except ValueError:
            raise InputError(
                "The prices cannot be read.",
                expected="two numbers: of a million prompt tokens and of a million completion tokens",
                found=repr(text),
                where="--prices",
                fix="write them like 2.5,10",
            ) from None
        return cls(prompt, completion)

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Cost of so many tokens."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


@dataclass
class Budget:
    """A bound on requests, tokens, money and time, shared by everything that spends from it.

    Spending is known only when a reply is there, so requests that are under way at the same time can each
    go over a bound on tokens or money by what they cost themselves.

    Args:
        max_requests: None for no bound.
        max_tokens: Of prompts and replies together, as the servers count them; None for no bound.
        max_money: In the currency of `prices`, which it needs; None for no bound.
        max_seconds: From the first request on; None for no bound.
        prices: None where tokens cost nothing, or nobody knows what.
        clock: Monotonic seconds; exchanged by tests.

    Attributes:
        requests, tokens, money: Spent so far; `money` stays 0 without prices.
    """

    max_requests: int | None = None
    max_tokens: int | None = None
    requests: int = 0
    tokens: int = 0
    max_money: float | None = None
    max_seconds: float | None = None
    prices: Prices | None = None
    money: float = 0.0
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._started: float | None = None
        for name, bound, least in (
            ("max_requests", self.max_requests, 1),
            ("max_tokens", self.max_tokens, 1),
            ("max_money", self.max_money, None),
            ("max_seconds", self.max_seconds, None),
        ):
            if bound is not None and not (bound >= least if least is not None else bound > 0):
                raise InputError(
                    "A budget allows nothing.",
                    expected=f"{name} {'> 0' if least is None else f'>= {least}'}, or None for no bound",
                    found=str(bound),
                    where="Budget",
                    fix="raise it, or leave it out",
                )
        if self.max_money is not None and self.prices is None:
            raise InputError(
                "A budget of money needs prices.",
                expected="the prices of a million prompt and completion tokens",
                found="none",
                where="Budget",
                fix="give the prices, or bound requests or tokens instead",
            )

    def start_request(self) -> None:
        """Count a request that is about to be sent; BudgetSpentError when nothing is left for it."""
        with self._lock:
            now = self.clock()
            self._started = now if self._started is None else self._started
            for spent, bound, what in (
                (self.requests, self.max_requests, "requests"),
                (self.tokens, self.max_tokens, "tokens"),
                (self.money, self.max_money, "of the currency of the prices"),
                (now - self._started, self.max_seconds, "seconds"),
            ):
                if bound is not None and spent >= bound:
                    raise BudgetSpentError(
                        "The budget for the chat model is spent.",
                        expected=f"fewer than {bound:g} {what}",
                        found=f"{spent:g} {what}",
                        where="Budget",
                        fix="raise the budget, or ask about less",
                    )
            self.requests += 1

    def count_tokens(self, number: int) -> None:
        """Add what a reply has cost."""
        self.count_usage(0, number)

    def count_usage(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Add what a reply has cost, and its price where prices are known."""
        with self._lock:
            self.tokens += prompt_tokens + completion_tokens
            self.money += 0.0 if self.prices is None else self.prices.of(prompt_tokens, completion_tokens)


@dataclass
class RetryPolicy:
    """Rules for trying a request again, and for giving up.

    Waits double from `first_wait` up to `longest_wait`, each shortened by up to a quarter at random so that
    many clients do not come back at once. A server's own Retry-After is honoured as it is.

    Args:
        retries: Further attempts after the first.
        timeout: Seconds for one attempt, from connecting to the last byte.
        total: Seconds for all attempts and waits together.
        first_wait, longest_wait: Seconds.
        sleep, clock, rng: Waiting, monotonic seconds and chance; exchanged by tests.

    Source: ours; doubling waits with jitter are what hosted servers ask of their clients.
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


class RateLimiter:
    """Turns of many threads, evenly spread, at most so many a minute.

    Args:
        per_minute: None for as fast as replies come.
        clock: Monotonic seconds; exchanged by tests.
    """

    def __init__(self, per_minute: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        if per_minute is not None and not 0 < per_minute < float("inf"):
            raise InputError(
                "The rate of requests cannot be kept.",
                expected="requests per minute > 0, or none for no limit",
                found=str(per_minute),
                where="requests per minute",
                fix="give another number",
            )
        self._gap = 0.0 if per_minute is None else 60.0 / per_minute
        self._clock = clock
        # The first request has its turn at once.
        self._next = float("-inf")
        self._lock = threading.Lock()

    def wait(self, stop: threading.Event) -> bool:
        """Wait for this request's turn; False when `stop` was set meanwhile."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + self._gap
        # Outside the lock: others take their turns while this one waits for its own.
        return not (stop.wait(turn - now) if turn > now else stop.is_set())


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
