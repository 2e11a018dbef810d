"""A rate that many threads keep together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from segue.errors import InputError


class Pace:
    """Lets requests start evenly spread, at most so many a minute.

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
        self._next = float("-inf")
        self._lock = threading.Lock()

    def wait(self, stop: threading.Event) -> bool:
        """Wait for this request's turn; False when `stop` was set meanwhile."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + self._gap
        return not (stop.wait(turn - now) if turn > now else stop.is_set())
