"""How long answers take: the first one about two photographs, a further one, and `segue ask` from nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segue.inference.loaded_model import LoadedModel


def measure_timings(
    model: LoadedModel, photographs: Sequence[Path], *, cold: int = 3, name: str = "segue-mini"
) -> dict[str, float]:
    """Medians in seconds, and how busy the machine was.

    Args:
        photographs: taken in pairs; the first pair warms up and does not count.
        cold: how often a process of its own is started.
        name: model of these processes, a name or a folder.
    """
    first, further = [], []
    pairs = [list(photographs[k : k + 2]) for k in range(0, len(photographs) - 1, 2)]
    for number, pair in enumerate(pairs):
        model.encoder_cache.clear()
        start = time.perf_counter()
        session = model.session(pair)
        session.ask("Which image shows a dog?")
        middle = time.perf_counter()
        session.ask("Where is the person?")
        if number:
            first.append(middle - start)
            further.append(time.perf_counter() - middle)
    alone = []
    for _ in range(cold):
        start = time.perf_counter()
        command = [sys.executable, "-m", "segue.cli", "ask", *map(str, pairs[0]), "-q", "Where is the dog?"]
        subprocess.run([*command, "-m", name], check=True, capture_output=True)
        alone.append(time.perf_counter() - start)
    figures = {"first_answer": first, "further_turn": further, "cold_ask": alone}
    medians = {key: round(float(np.median(values)), 3) for key, values in figures.items() if values}
    return medians | {"load_a_core": round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)}
