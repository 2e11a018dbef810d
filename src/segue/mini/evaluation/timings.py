"""How long answers take: the first one about two photographs, a further one, and `segue ask` from nothing.

Beside the time that passes, the processor's time is taken: with one thread that is what a core of its own
needs, however busy the machine is.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from segue.inference.loaded_model import LoadedModel


def measure_timings(
    model: LoadedModel, photographs: Sequence[Path], *, cold: int = 2, name: str = "segue-mini"
) -> dict[str, float]:
    """Medians in seconds, as they pass and (`_processor`) as the processor works, and the load of a core.

    Args:
        photographs: taken in pairs; the first pair warms up and does not count.
        cold: how often a process of its own is started.
        name: model of these processes, a name or a folder.
    """
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)
    pairs = [list(photographs[k : k + 2]) for k in range(0, len(photographs) - 1, 2)]
    for number, pair in enumerate(pairs):
        model.encoder_cache.clear()
        session = model.session(pair)
        first = _timed(partial(session.ask, "Which image shows a dog?"))
        further = _timed(partial(session.ask, "Where is the person?"))
        if number:
            times["first_answer"].append(first)
            times["further_turn"].append(further)
    command = [sys.executable, "-m", "segue.cli", "ask", *map(str, pairs[0]), "-q", "Where is the dog?"]
    for _ in range(cold):
        run = _timed(lambda: subprocess.run([*command, "-m", name], check=True, capture_output=True))
        times["cold_ask"].append(run)
    figures = {"load_a_core": round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)}
    for key, values in times.items():
        passed, worked = np.median(values, axis=0).tolist()
        figures |= {key: round(passed, 3), f"{key}_processor": round(worked, 3)}
    return figures


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that pass, and those that this process and the ones that it started work."""
    start, worked = time.perf_counter(), _worked()
    work()
    return time.perf_counter() - start, _worked() - worked


def _worked() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
