"""Ray behind the one seam that the floors below know: a `map_fn` that runs anywhere and keeps the order.

    from segue.apps.scale import ray_map

    Build(out, config, map_fn=ray_map()).run()

Stages give the same bytes as with the builtin `map`. Workers write their shards themselves, so that on a
cluster the output folder (and the data) must lie on a file system that all nodes share.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from segue.datasets.stages.stages import MapFn
from segue.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

IN_FLIGHT = 2
"""Tasks per processor that are handed out before the first result is taken, so that memory stays flat."""


def ray_map(
    address: str | None = None, *, num_cpus: int | None = None, resources: dict[str, float] | None = None
) -> MapFn:
    """Connect to Ray and return its `map`.

    Args:
        address: Of a cluster ("auto", "ray://head:10001"); None starts Ray on this machine.
        num_cpus: Processors to use on this machine; all by default.
        resources: What one task needs besides a processor, such as `{"num_gpus": 1}`.

    Returns:
        A lazy, ordered `map` whose function and items must be picklable.

    Raises:
        InputError: Ray is not installed.
    """
    ray = _ray()
    if not ray.is_initialized():
        local: dict[str, Any] = {} if address else {"num_cpus": num_cpus, "include_dashboard": False}
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **local)
    wide = max(1, int(ray.cluster_resources().get("CPU", 1))) * IN_FLIGHT

    def run(fn: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
        # The function holds what all tasks share (a lexicon, offsets): it is sent once, not with each task.
        shared = ray.put(fn)
        task = ray.remote(_apply)
        if resources:
            task = task.options(**resources)
        waiting: deque[Any] = deque()
        for item in items:
            waiting.append(task.remote(shared, item))
            if len(waiting) >= wide:
                yield _result(ray, waiting.popleft())
        while waiting:
            yield _result(ray, waiting.popleft())

    return run


def _apply(fn: Callable[[Item], Result], item: Item) -> Result:
    return fn(item)


def _result(ray: Any, reference: Any) -> Any:
    """The result of a task; an error of ours comes as it was raised, not wrapped."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, Exception):
            raise error.cause from None
        raise


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise InputError(
            "Ray is not installed.",
            expected="the package ray",
            found="none",
            where="--engine ray",
            fix="pip install 'segue[scale]'",
        ) from None
    return ray
