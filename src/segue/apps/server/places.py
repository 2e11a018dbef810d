"""Places in the queue, and room for pictures: what is under way at a time is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from segue.apps.server.errors import ApiError, refusal
from segue.apps.server.settings import Settings


class Places:
    """Counts what is under way; all but `took` in the event loop.

    Args:
        settings: `queue` and `most_pixels_at_once`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seconds = 2.0
        self.under_way = 0
        self.pixels = 0

    def took(self, seconds: float) -> None:
        """Learn what a question took, for `Retry-After`."""
        self._seconds += 0.2 * (seconds - self._seconds)

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue, for as long as a request is under way; called in the event loop.

        Raises:
            ApiError: 429 with Retry-After, when all are taken.
        """
        if self.under_way >= self._settings.queue:
            raise self._busy(f"{self.under_way} requests under way")
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    @contextmanager
    def room(self, pixels: int) -> Iterator[None]:
        """Room for the pixels of a request's pictures; see `place`. A single picture always has it."""
        if self.pixels and self.pixels + pixels > self._settings.most_pixels_at_once:
            raise self._busy(f"{self.pixels:,} pixels of pictures under way")
        self.pixels += pixels
        try:
            yield
        finally:
            self.pixels -= pixels

    def _busy(self, found: str) -> ApiError:
        seconds = min(max(1, round(self._seconds * self.under_way)), 60)
        return refusal(
            "The server is busy.", None, status=429, code="server_busy",
            expected=f"at most {self._settings.queue} requests at a time", found=found,
            fix=f"send it again in {seconds} seconds", headers={"Retry-After": str(seconds)},
        )  # fmt: skip
