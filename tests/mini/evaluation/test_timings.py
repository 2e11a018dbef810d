"""Times are medians over pairs after the first."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from segue.inference.loaded_model import LoadedModel
from segue.mini.evaluation import timings

PHOTOGRAPHS = [Path(f"{k}.jpg") for k in range(6)]


def test_first_and_further_answers_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, cleared, started = [0.0], [], []

    def session(pair: list[Path]) -> Any:
        # The first pair warms up: its answers take ten times as long.
        waits = iter((10.0, 10.0) if pair[0] == PHOTOGRAPHS[0] else (1.0, 0.25))

        def ask(question: str) -> None:
            clock[0] += next(waits)

        return SimpleNamespace(ask=ask)

    def run(command: list[str], **options: Any) -> None:
        started.append(command)
        clock[0] += 4.0

    monkeypatch.setattr(timings.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(timings, "_worked", lambda: clock[0] / 2)
    monkeypatch.setattr(subprocess, "run", run)
    cache = SimpleNamespace(clear=lambda: cleared.append(1))
    model = cast(LoadedModel, SimpleNamespace(session=session, encoder_cache=cache))
    found = timings.measure_timings(model, PHOTOGRAPHS, cold=2, name="some")
    assert (found["first_answer"], found["further_turn"], found["cold_ask"]) == (1.0, 0.25, 4.0)
    assert (found["first_answer_processor"], found["cold_ask_processor"]) == (0.5, 2.0)
    assert len(cleared) == 3, "no photograph is at hand from the pair before"
    assert all(command[-2:] == ["-m", "some"] for command in started)
