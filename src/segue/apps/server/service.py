"""What all routes share: the model, its queue, the pictures, and the way of a question through them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from starlette.requests import Request

from segue.apps.server.bodies import Bodies
from segue.apps.server.engine import AnyEngine, Engine, Job, events_of_job
from segue.apps.server.errors import refusal
from segue.apps.server.messages import Dialogue, PictureRef
from segue.apps.server.metrics import Metrics
from segue.apps.server.pictures import Picture, PictureStore, decoded, files_of
from segue.apps.server.regions import Pointed, checked_region
from segue.apps.server.sampling import Sampling
from segue.apps.server.settings import Settings

if TYPE_CHECKING:
    from segue.inference.answer import SessionAnswer
    from segue.inference.loaded_model import LoadedModel

Result = TypeVar("Result")

_DECODED_AT_ONCE = 4


@dataclass(frozen=True)
class Named:
    """A model that is asked elsewhere."""

    name: str


class Service:
    """A model being served.

    Args:
        model: To ask; only its name counts where an engine is given.
        settings: Limits.
        engine: Who asks; by default a thread of this process.
    """

    def __init__(
        self, model: LoadedModel | Named, settings: Settings, engine: AnyEngine | None = None
    ) -> None:
        self.model, self.settings = model, settings
        self.engine = engine or Engine(cast("LoadedModel", model), settings)
        self.metrics = Metrics(self.engine)
        self.bodies = Bodies(settings)
        self._store = PictureStore(settings.most_kept_pictures)
        self._decoding = asyncio.Semaphore(_DECODED_AT_ONCE)

    def check_model(self, name: Any) -> None:
        """Refuse a request for another model with 404; none named is this one."""
        if name is None or name == self.model.name:
            return
        raise refusal(
            "There is no such model here.", "model", status=404, code="model_not_found",
            expected=self.model.name, found=repr(name)[:200], fix="GET /v1/models lists what is served",
        )  # fmt: skip

    @asynccontextmanager
    async def pictures(self, refs: Sequence[PictureRef], caller: str) -> AsyncIterator[list[Picture]]:
        """All pictures of a request, decoded; their room is given back when the request is over.

        Raises:
            ApiError: One that cannot be had or read; 429 where there is no room for it now.
        """
        async with self._decoding:
            files = await asyncio.to_thread(files_of, refs, caller, self._store, self.settings)
        async with self.decoded([(ref.where, data) for ref, data in files]) as pictures:
            yield pictures

    @asynccontextmanager
    async def decoded(self, files: Sequence[tuple[str, bytes]]) -> AsyncIterator[list[Picture]]:
        """The same of files, each with the field that it came in."""
        pictures = []
        async with contextlib.AsyncExitStack() as rooms:
            for number, (where, data) in enumerate(files, 1):
                async with self._decoding:
                    picture = await asyncio.to_thread(decoded, data, where, self.settings, number)
                rooms.enter_context(self.engine.room(picture.image.width * picture.image.height))
                pictures.append(picture)
            yield pictures

    async def pointed(self, dialogue: Dialogue, pictures: Sequence[Picture]) -> Pointed:
        """What the questions of a dialogue point at, checked against their pictures.

        Raises:
            ApiError: A region that does not fit.
        """
        if not any(dialogue.pointed):
            return ()
        hws = [(picture.image.height, picture.image.width) for picture in pictures]

        def checked() -> Pointed:
            return tuple(tuple(checked_region(ref, hws) for ref in refs) for refs in dialogue.pointed)

        async with self._decoding:
            return await asyncio.to_thread(checked)

    def job(
        self,
        dialogue: Dialogue,
        pictures: list[Picture],
        sampling: Sampling,
        streamed: bool,
        pointed: Pointed = (),
    ) -> Job:
        """A question for the engine."""
        return Job(pictures, dialogue.turns, dialogue.question, sampling, streamed, pointed)

    async def whole_answer(self, job: Job) -> SessionAnswer:
        """The answer to a job, awaited and counted.

        Raises:
            ApiError: What went wrong.
        """
        from segue.inference.streaming import Done

        async with contextlib.aclosing(events_of_job(job, self.engine)) as events:
            async for event in events:
                if isinstance(event, Done):
                    answer: SessionAnswer = event.answer
        self.metrics.answer(answer, len(job.pictures))
        return answer


async def unless_left(request: Request, work: Callable[[], Awaitable[Result]]) -> Result | None:
    """Do some work, and stop it when the client leaves; None then.

    Args:
        request: Its body has been read.
        work: Cancelled when the client leaves.
    """
    working = asyncio.ensure_future(work())
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, leaving):
            task.cancel()
        # Whoever waits for a place must find it free: what was cancelled has ended by now.
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """Limit of a whole request; ApiError 503 when it is over."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise refusal(
            "The answer took too long.", None, status=503, code="timeout",
            expected=f"an answer within {seconds:g} seconds", fix="ask about fewer images, or later",
            headers={"Retry-After": "10"},
        ) from None  # fmt: skip
