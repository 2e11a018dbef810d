"""What the server counts, for Prometheus; labels take a handful of values each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from segue.apps.server.engine import AnyEngine
    from segue.inference.answer import SessionAnswer

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """Counters of one server, in a registry of its own."""

    def __init__(self, engine: AnyEngine) -> None:
        self._registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self._registry}
        self._requests = Counter("segue_requests", "Requests that were answered.", ["route", "status"], **own)
        self._seconds = Histogram(
            "segue_request_seconds", "From a request's headers to the end of its answer.", ["route"],
            buckets=_BUCKETS, **own,
        )  # fmt: skip
        self._tokens = Counter("segue_tokens", "Tokens that were shown and written.", ["kind"], **own)
        self._masks = Counter("segue_masks", "Masks that were drawn.", **own)
        self._pictures = Counter("segue_pictures", "Pictures that were decoded.", **own)
        under_way = Gauge("segue_requests_under_way", "Requests with a place in the queue.", **own)
        under_way.set_function(lambda: engine.under_way)
        waiting = Gauge("segue_requests_waiting", "Requests whose answer has not begun.", **own)
        waiting.set_function(lambda: engine.waiting)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answer(self, answer: SessionAnswer, pictures: int) -> None:
        """Count what an answer took."""
        self._tokens.labels("prompt").inc(answer.prompt_tokens)
        self._tokens.labels("completion").inc(answer.new_tokens)
        self._masks.inc(len(answer.groundings))
        self._pictures.inc(pictures)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)
