"""Requests start evenly."""

from __future__ import annotations

import threading

import pytest

from segue.chat_model.limits import RateLimiter
from segue.errors import InputError


class Stop(threading.Event):
    """Remembers how long it was asked to wait, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return self.is_set()


def test_turns_are_evenly_spread() -> None:
    stop = Stop()
    limiter = RateLimiter(30, clock=lambda: 100.0)
    assert all(limiter.wait(stop) for _ in range(4))
    assert stop.waits == [2.0, 4.0, 6.0]


def test_without_a_limit_nobody_waits() -> None:
    stop = Stop()
    limiter = RateLimiter(None, clock=lambda: 0.0)
    assert all(limiter.wait(stop) for _ in range(3))
    assert not stop.waits


def test_a_stop_ends_the_waiting() -> None:
    stop = Stop()
    stop.set()
    limiter = RateLimiter(1, clock=lambda: 0.0)
    assert not limiter.wait(stop)
    assert not limiter.wait(stop)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_impossible_rates(rate: float) -> None:
    with pytest.raises(InputError, match="rate"):
        RateLimiter(rate)
