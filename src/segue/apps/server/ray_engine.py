"""Replicas on Ray Serve in the place of the one thread: the same API, answered by several models.

Requests come to this process, which checks and decodes them and passes questions on; whatever a replica keeps
is found by content, so that any of them can answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from segue.apps.server.engine import Engine, Job, events_of_job
from segue.apps.server.errors import ApiError, refusal
from segue.apps.server.places import Places
from segue.apps.server.settings import Settings
from segue.errors import InputError

if TYPE_CHECKING:
    from segue.apps.server.past_answers import PastAnswer
    from segue.apps.server.pictures import Picture
    from segue.apps.server.regions import Mark, Pointed
    from segue.apps.server.sampling import Sampling
    from segue.inference.streaming import Event

_log = logging.getLogger(__name__)
_APP = "segue"


@dataclass(frozen=True)
class ModelSource:
    """What `segue.load` takes, to be loaded by every replica.

    Attributes:
        name, device, dtype, quantize: See `segue.load`.
        cache_bytes: Of encoder outputs that each keeps.
    """

    name: str
    device: str | None = None
    dtype: str | None = None
    quantize: str | None = None
    cache_bytes: int = 1 << 30


class Replica:
    """A model in a process of its own, with an engine that asks it.

    Args:
        source: The model.
        settings: `batch_size`, `kept_conversations`.
    """

    def __init__(self, source: ModelSource, settings: Settings) -> None:
        from segue.loading import load

        model = load(source.name, source.device, source.dtype, source.quantize)
        model.encoder_cache.most_bytes = source.cache_bytes
        self._name = model.name
        self._engine = Engine(model, settings)

    def check_health(self) -> None:
        """Raise where questions cannot be answered any more: Ray Serve then starts another replica."""
        if not self._engine.alive:
            raise RuntimeError("the thread that asks the model has ended")

    async def name(self) -> str:
        """Name of the model."""
        return self._name

    async def answer(
        self,
        pictures: list[Picture],
        turns: list[tuple[str, PastAnswer]],
        question: str,
        sampling: Sampling,
        streamed: bool,
        pointed: Pointed,
        mark: Mark | None,
    ) -> AsyncIterator[Event | ApiError]:
        """Events of a question; what went wrong is the last of them. Cancelled, the question is given up."""
        job = Job(pictures, turns, question, sampling, streamed, pointed, mark)
        try:
            async with aclosing(events_of_job(job, self._engine)) as events:
                async for event in events:
                    yield _without_pictures(event)
        except ApiError as error:
            yield error


def _without_pictures(event: Event) -> Event:
    """The event without the pictures of the conversation, which whoever asked has."""
    from segue.inference.streaming import Done

    return Done(replace(event.answer, pictures=())) if isinstance(event, Done) else event


class RayEngine(Places):
    """Passes jobs on to replicas; Ray Serve chooses which.

    Args:
        handle: Of the deployment of `Replica`.
        settings: `queue` and `most_pixels_at_once` for all replicas together.
        name: Of the model.
    """

    def __init__(self, handle: Any, settings: Settings, name: str) -> None:
        super().__init__(settings)
        self.name = name
        self._handle = handle.options(stream=True)
        self._tasks: dict[Job, asyncio.Task[None]] = {}
        self._silent: set[Job] = set()

    @property
    def alive(self) -> bool:
        """Whether Ray Serve says that the replicas are there."""
        from ray import serve

        try:
            return str(serve.status().applications[_APP].status.value) == "RUNNING"
        except Exception:  # Ray raises whatever went wrong on the way to its controller
            return False

    @property
    def waiting(self) -> int:
        """Jobs of which nothing has come yet."""
        return len(self._silent)

    def submit(self, job: Job) -> None:
        """Pass a job on; called in the event loop."""
        self._silent.add(job)
        self._tasks[job] = asyncio.get_running_loop().create_task(self._run(job))

    def gave_up(self, job: Job) -> None:
        """Take a job back; its replica stops at the next token."""
        self._silent.discard(job)
        task = self._tasks.pop(job, None)
        if task is not None:
            task.cancel()

    async def _run(self, job: Job) -> None:
        started = time.monotonic()
        asked = (job.pictures, job.turns, job.question, job.sampling, job.streamed)
        events = self._handle.answer.remote(*asked, job.pointed, job.mark)
        try:
            async for event in events:
                self._silent.discard(job)
                job.tell(event)
            self.took(time.monotonic() - started)
        except asyncio.CancelledError:
            events.cancel()
            raise
        except Exception as error:
            _log.error("a replica failed", exc_info=error)
            job.tell(
                refusal(
                    "The model's process ended.", None, status=503, code="replica_failed",
                    fix="send it again: another one is being started", headers={"Retry-After": "5"},
                )
            )  # fmt: skip

    def stop(self) -> None:
        """End the replicas, and Ray where it was started here."""
        import ray
        from ray import serve

        serve.shutdown()
        ray.shutdown()


def start_replicas(
    source: ModelSource, settings: Settings, replicas: int, address: str | None = None
) -> RayEngine:
    """Start replicas, and wait until they can answer.

    Args:
        source: The model; on a cluster its folder has to be on all nodes.
        settings: For all; `queue` counts questions over all replicas.
        replicas: How many; with GPUs each takes one.
        address: Of a Ray cluster, "auto" for that of this machine; Ray is started here by default.

    Raises:
        InputError: Ray Serve is not installed, or the replicas cannot be started.
    """
    try:
        import ray
        from ray import serve
    except ImportError as error:
        raise InputError(
            "Ray Serve is not installed.", expected="the package ray with its extra serve", found=str(error),
            where="--engine ray", fix="pip install 'segue[scale]'",
        ) from None  # fmt: skip
    try:
        if not ray.is_initialized():
            cpus = max(os.cpu_count() or 1, replicas)
            local: dict[str, Any] = {} if address else {"num_cpus": cpus, "include_dashboard": False}
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **local)
        gpus = 0 if source.device == "cpu" else int(ray.cluster_resources().get("GPU", 0) >= replicas)
        # Requests come through this process, so that limits and errors are those of the API.
        serve.start(proxy_location="Disabled")
        deployment = serve.deployment(Replica, name="model").options(
            num_replicas=replicas,
            max_ongoing_requests=settings.queue,
            graceful_shutdown_timeout_s=settings.grace,
            ray_actor_options={"num_cpus": 1, "num_gpus": gpus},
        )
        handle = serve.run(deployment.bind(source, settings), name=_APP, route_prefix=None)
        name = handle.name.remote().result()
    except Exception as error:  # Ray raises plain exceptions of many kinds
        found = f"{type(error).__name__}: {error}"[-300:]
        # Asked without Ray, Ray Serve would start it once more.
        if ray.is_initialized():
            found = _told_by_replicas(serve) or found
            with contextlib.suppress(Exception):
                serve.shutdown()
            ray.shutdown()
        raise InputError(
            "The replicas cannot be started.", expected=f"{replicas} processes with the model",
            found=found, where="--engine ray",
            fix="try --engine builtin, which says more of a model; on a busy machine try again",
        ) from error  # fmt: skip
    return RayEngine(handle, settings, name)


def _told_by_replicas(serve: Any) -> str:
    """Why replicas did not start, in their own words; "" where they said nothing."""
    with contextlib.suppress(Exception):
        status = serve.status().applications.get(_APP)
        return "" if status is None else str(status.message)[-300:]
    return ""
