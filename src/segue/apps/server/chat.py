"""`POST /v1/chat/completions`: an answer whole, or as a stream of server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from segue.apps.server.bodies import read_json
from segue.apps.server.completion import (
    Completion,
    Stops,
    finish_reason,
    grounding_entry,
    numbered,
)  # fmt: skip
from segue.apps.server.engine import Job, events_of_job
from segue.apps.server.errors import ApiError, dumps, from_exception, json_response, refusal
from segue.apps.server.messages import read_dialogue
from segue.apps.server.sampling import read_sampling
from segue.apps.server.service import Service, time_limit, unless_left
from segue.records import Grounding

if TYPE_CHECKING:
    from segue.inference.answer import SessionAnswer

_LEFT = 499
_FIRST_EVENT = 20.0
"""Seconds that the headers of a stream wait for its first event, so that an error can still have a status."""


async def complete(service: Service, request: Request) -> Response:
    """Answer a chat completion.

    Raises:
        ApiError: Whatever is wrong with the request, in OpenAI's form.
    """
    body = read_json(await service.bodies.read(request))
    service.check_model(body.get("model"))
    streamed, with_usage = _stream_options(body)
    sampling = read_sampling(body)
    dialogue = read_dialogue(body, service.settings)
    async with AsyncExitStack() as held:
        held.enter_context(service.engine.place())
        caller = request.scope["state"]["caller"]
        pictures = await held.enter_async_context(service.pictures(dialogue.pictures, caller))
        pointed = await service.pointed(dialogue, pictures)
        job = service.job(dialogue, pictures, sampling, streamed, pointed)
        completion = Completion(service.model.name, pictures)
        if streamed:
            stream = _Stream(service, job, completion, with_usage)
            held.push_async_callback(stream.close)
            if await unless_left(request, stream.begin) is None:
                return Response(status_code=_LEFT)
            # From here on the answer holds the places, until it ends or its client leaves.
            return _Events(stream.lines(), held.pop_all())

        async def work() -> Response:
            async with time_limit(service.settings.timeout):
                return json_response(await _whole(service, job, completion))

        return await unless_left(request, work) or Response(status_code=_LEFT)


_MEDIA_TYPE = "text/event-stream"
# X-Accel-Buffering: proxies hold streams back otherwise.
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}


class _Events(StreamingResponse):
    """A stream that gives back what the request holds when it is over, also where it never began."""

    def __init__(self, lines: AsyncIterator[bytes], held: AsyncExitStack) -> None:
        super().__init__(lines, headers=_HEADERS, media_type=_MEDIA_TYPE)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            await super().__call__(scope, receive, send)


def _stream_options(body: dict[str, Any]) -> tuple[bool, bool]:
    """Whether to stream, and whether to tell the usage at the end."""
    streamed, options = body.get("stream"), body.get("stream_options")
    if streamed is not None and not isinstance(streamed, bool):
        raise refusal(
            "`stream` has a value that it cannot have.", "stream", code="invalid_value",
            expected="true, false or null", found=repr(streamed)[:200], fix="change stream",
        )  # fmt: skip
    usage = options.get("include_usage") if isinstance(options, dict) else options
    if usage is not None and not isinstance(usage, bool):
        raise refusal(
            "`stream_options` cannot be read.", "stream_options", code="invalid_value",
            expected='{"include_usage": true}', found=repr(options)[:200], fix="change stream_options",
        )  # fmt: skip
    return bool(streamed), bool(usage)


async def _whole(service: Service, job: Job, completion: Completion) -> dict[str, Any]:
    stops, answer = Stops(job.sampling.stops), await service.whole_answer(job)
    text = stops.push(answer.text) + stops.rest()
    groundings = numbered(answer)
    if stops.hit:
        groundings = {k: g for k, g in groundings.items() if g.span[1] <= stops.length}
    return completion.whole(text, groundings, answer, stops.hit)


class _Stream:
    """Chunks of one answer."""

    def __init__(self, service: Service, job: Job, completion: Completion, with_usage: bool) -> None:
        self._service, self._job = service, job
        self._completion, self._with_usage = completion, with_usage
        self._stops = Stops(job.sampling.stops)
        self._sent: set[int] = set()
        self._held: list[tuple[int, Grounding]] = []
        self._events: asyncio.Queue[Any] = asyncio.Queue()
        self._first: Any = None
        self._pump: asyncio.Task[None] | None = None

    async def begin(self) -> bool:
        """Ask, and wait for the first event: until then an error has a status of its own."""
        self._pump = asyncio.create_task(self._run())
        with contextlib.suppress(TimeoutError):
            self._first = await asyncio.wait_for(self._events.get(), _FIRST_EVENT)
        if isinstance(self._first, ApiError):
            raise self._first
        return True

    async def close(self) -> None:
        """Give the answer up, if it is not complete."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)

    async def lines(self) -> AsyncIterator[bytes]:
        """The stream; only `data:` lines and comments."""
        # The lists are there from the start, so that an answer without masks says so as a whole one does.
        empty: dict[str, list[Any]] = {"groundings": [], "problems": [], "notes": [], "regions": []}
        begun = {"images": self._completion.images(), **empty}
        yield self._data({"role": "assistant", "content": "", "segue": begun})
        async for line in self._rest():
            yield line
        yield b"data: [DONE]\n\n"

    async def _run(self) -> None:
        """Pass events on; what goes wrong is an event too."""
        try:
            events = events_of_job(self._job, self._service.engine)
            async with time_limit(self._service.settings.timeout), contextlib.aclosing(events):
                async for event in events:
                    self._events.put_nowait(event)
        except Exception as error:
            self._events.put_nowait(from_exception(error))

    async def _rest(self) -> AsyncIterator[bytes]:
        from segue.inference.streaming import Done, MaskReady, TextDelta

        while True:
            try:
                event, self._first = self._first, None
                if event is None:
                    event = await asyncio.wait_for(self._events.get(), self._service.settings.keep_alive)
            except TimeoutError:
                yield b": still at work\n\n"
                continue
            if isinstance(event, ApiError):
                # The status is long out; the official clients raise on this.
                yield f"data: {dumps(event.body())}\n\n".encode()
                return
            if isinstance(event, TextDelta):
                if piece := self._stops.push(event.text):
                    yield self._data({"content": piece})
            elif isinstance(event, MaskReady):
                self._held.append((event.index, event.grounding))
            for ready in self._ready():
                yield ready
            if isinstance(event, Done):
                for line in self._end(event.answer):
                    yield line
                return

    def _ready(self) -> list[bytes]:
        """Masks whose phrase has been sent; one behind a stop text never is."""
        now = [(k, g) for k, g in self._held if g.span[1] <= self._stops.length and k not in self._sent]
        self._held = [(k, g) for k, g in self._held if g.span[1] > self._stops.length]
        self._sent |= {k for k, _ in now}
        entries = [grounding_entry(k, g) for k, g in now]
        return [self._data({"segue": {"groundings": entries}})] if entries else []

    def _end(self, answer: SessionAnswer) -> list[bytes]:
        lines = []
        if piece := self._stops.rest():
            lines.append(self._data({"content": piece}))
        self._held = [(k, g) for k, g in numbered(answer).items() if k not in self._sent]
        lines += self._ready()
        remarks = {name: items for name, items in self._completion.remarks(answer).items() if items}
        if remarks:
            lines.append(self._data({"segue": remarks}))
        lines.append(self._data({}, finish_reason(answer, self._stops.hit)))
        if self._with_usage:
            lines.append(f"data: {dumps(self._completion.usage_chunk(answer))}\n\n".encode())
        self._service.metrics.answer(answer, len(self._job.pictures))
        return lines

    def _data(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return f"data: {dumps(self._completion.chunk(delta, finish, self._with_usage))}\n\n".encode()
