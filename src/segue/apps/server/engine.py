"""The one thread that asks the model, and the bounded queue ahead of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from segue.apps.server.conversations import Conversations
from segue.apps.server.errors import ApiError, from_exception, refusal
from segue.apps.server.past_answers import PastAnswer
from segue.apps.server.pictures import Picture
from segue.apps.server.places import Places
from segue.apps.server.regions import Mark, Pointed, takes_no_regions
from segue.apps.server.sampling import Sampling
from segue.apps.server.settings import Settings
from segue.errors import SegueError

if TYPE_CHECKING:
    from segue.inference.loaded_model import LoadedModel
    from segue.inference.session import GroundingSession
    from segue.inference.streaming import Event

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Job:
    """A question on its way through the engine.

    Attributes:
        pictures, turns, question: The conversation.
        sampling: How to answer.
        streamed: Whether somebody listens while the answer grows; others may be asked in a batch.
        pointed: What each question points at, see `Dialogue`; empty where none does.
        mark: To be found in the other pictures, in the place of a question.
        events: What the asking coroutine reads: events, then `Done` or an exception.
        loop: Of that coroutine.
    """

    pictures: list[Picture]
    turns: list[tuple[str, PastAnswer]]
    question: str
    sampling: Sampling
    streamed: bool
    pointed: Pointed = ()
    mark: Mark | None = None
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    events: asyncio.Queue[Event | BaseException] = field(default_factory=asyncio.Queue)
    left: threading.Event = field(default_factory=threading.Event)

    def tell(self, event: Event | BaseException) -> None:
        """Pass something on to the coroutine, from any thread."""
        # RuntimeError: the loop is closed, and nobody listens any more.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.events.put_nowait, event)

    @property
    def batch_key(self) -> tuple[Any, ...] | None:
        """Jobs with equal keys may be asked together; None asks alone.

        Sampled answers would depend on their neighbours, and later turns have read most of their prompt.
        """
        if self.streamed or self.turns or self.sampling.options or self.pointed or self.mark:
            return None
        return (self.sampling.max_new_tokens,)


class AnyEngine(Protocol):
    """What answers jobs: `Engine` in this process, or replicas elsewhere."""

    under_way: int
    pixels: int

    @property
    def alive(self) -> bool:
        """Whether questions can be answered."""

    @property
    def waiting(self) -> int:
        """Jobs that have not begun."""

    def place(self) -> AbstractContextManager[None]:
        """See `Places`."""

    def room(self, pixels: int) -> AbstractContextManager[None]:
        """See `Places`."""

    def submit(self, job: Job) -> None:
        """Line a job up."""

    def gave_up(self, job: Job) -> None:
        """Hear that nobody waits for a job any more."""

    def stop(self) -> None:
        """Answer no more; called once, when no request is under way."""


class Engine(Places):
    """Answers jobs one after the other, or several in a batch.

    Args:
        model: Everything is asked of it, in one thread: a model's hooks know one generation at a time.
        settings: `queue`, `batch_size`, `kept_conversations`, `most_pixels_at_once`.
    """

    def __init__(self, model: LoadedModel, settings: Settings) -> None:
        super().__init__(settings)
        self.model = model
        self._conversations = Conversations(model, settings.kept_conversations)
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="segue-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread that asks is there."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """Jobs that have not begun."""
        return len(self._waiting)

    def submit(self, job: Job) -> None:
        """Line a job up."""
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()

    def gave_up(self, job: Job) -> None:
        """Hear that nobody waits for a job any more: `job.left` is set, which the thread looks at."""

    def stop(self) -> None:
        """End the thread after the job that it works on; what waits is told."""
        with self._changed:
            self._stopped = True
            left, self._waiting = list(self._waiting), deque()
            self._changed.notify()
        for job in left:
            job.tell(refusal("The server is going down.", None, status=503, code="shutting_down"))
        self._thread.join()

    # ---- in the engine's thread --------------------------------------------------------------------------

    def _work(self) -> None:
        while jobs := self._next():
            started = time.monotonic()
            try:
                if len(jobs) == 1:
                    self._answer(jobs[0])
                else:
                    self._answer_together(jobs)
            except Exception as error:
                _note(error)
                for job in jobs:
                    job.tell(error)
            self.took((time.monotonic() - started) / len(jobs))

    def _next(self) -> list[Job]:
        """The oldest job, and those behind it that may go with it; [] at the end."""
        with self._changed:
            while True:
                while self._waiting and self._waiting[0].left.is_set():
                    self._waiting.popleft()
                if self._stopped:
                    return []
                if self._waiting:
                    break
                self._changed.wait()
            first = self._waiting.popleft()
            jobs = [first]
            if first.batch_key is not None:
                for job in list(self._waiting):
                    if len(jobs) < self._settings.batch_size and job.batch_key == first.batch_key:
                        self._waiting.remove(job)
                        if not job.left.is_set():
                            jobs.append(job)
            return jobs

    def _answer(self, job: Job) -> None:
        if job.mark is not None:
            job.tell(self._found(job.pictures, job.mark))
            return
        if job.pointed and not self.model.takes_regions:
            raise takes_no_regions(self.model.name)
        session = self._conversations.take(job.pictures, job.turns, job.pointed)
        pointed: dict[str, Any] = {"regions": job.pointed[-1]} if job.pointed else {}
        budget = job.sampling.max_new_tokens
        events = session.stream(job.question, max_new_tokens=budget, **pointed, **self._options(job, session))
        finished = False
        # Closing the events, by leaving the loop, ends the generation at its next event.
        with contextlib.closing(events):  # type: ignore[type-var]
            for event in events:
                if job.left.is_set():
                    return
                finished = _is_done(event)
                if finished:
                    self._conversations.give_back(session, job.pictures)
                job.tell(event)

    def _found(self, pictures: Sequence[Picture], mark: Mark) -> Event:
        from segue.inference.streaming import Done

        images = [picture.image for picture in pictures]
        return Done(self.model.match(images, mark.region, threshold=mark.threshold))

    def _options(self, job: Job, session: GroundingSession) -> dict[str, Any]:
        options, seed = dict(job.sampling.options), job.sampling.seed
        if not session.batches:
            # A chat model behind an address samples by itself.
            if options.get("top_k") == 0:
                del options["top_k"]
            return options if seed is None else options | {"seed": seed}
        if options:
            import torch

            # Without one anew: a request's seed must not decide what those after it get.
            torch.seed() if seed is None else torch.manual_seed(seed)
        return options

    def _answer_together(self, jobs: Sequence[Job]) -> None:
        from segue.inference.batching import ask_together
        from segue.inference.streaming import Done

        taken: list[tuple[Job, GroundingSession]] = []
        for job in jobs:
            try:
                taken.append((job, self._conversations.take(job.pictures, job.turns)))
            except Exception as error:
                job.tell(error)
        outcomes = ask_together(
            [session for _, session in taken],
            [job.question for job, _ in taken],
            max_new_tokens=jobs[0].sampling.max_new_tokens,
        )
        for (job, session), outcome in zip(taken, outcomes, strict=True):
            if isinstance(outcome, Exception):
                _note(outcome)
                job.tell(outcome)
            else:
                self._conversations.give_back(session, job.pictures)
                job.tell(Done(outcome))


def _note(error: Exception) -> None:
    """Write down what is no user's mistake: clients are told only that it happened."""
    if not isinstance(error, (SegueError, ApiError)):
        _log.error("a question failed", exc_info=error)


def _is_done(event: Event) -> bool:
    from segue.inference.streaming import Done

    return isinstance(event, Done)


async def events_of_job(job: Job, engine: AnyEngine) -> Any:
    """Events of a job, `Done` last; closing the iterator makes the engine give the job up.

    Raises:
        ApiError: What went wrong.
    """
    engine.submit(job)
    try:
        while True:
            event = await job.events.get()
            if isinstance(event, BaseException):
                raise from_exception(event) from event
            yield event
            if _is_done(event):
                return
    finally:
        job.left.set()
        engine.gave_up(job)
