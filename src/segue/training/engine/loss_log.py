"""`losses.jsonl`: one line a step, on the disk before the next step begins."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from segue.errors import ModelError
from segue.files import write_atomic

LOSSES = "losses.jsonl"


class LossLog:
    """Appends a line per optimiser step; a resumed run goes on after its checkpoint's.

    Lines are `{"step": 1, "loss": 7.25, ..., "seconds": 3.1}`. `loss` and the terms are exact (they read back
    as the same floats), so two curves can be compared to the last bit. `seconds` is the time that the run has
    trained until then, processes that were killed included.

    Args:
        out: run folder.
        after: steps of the checkpoint that the run goes on from; later lines were lost with their process and
            are dropped.
    """

    def __init__(self, out: Path, after: int = 0) -> None:
        self.path = out / LOSSES
        lines = read_losses(out)
        self.before = spent_seconds(out)
        keep = [line for line in lines if line["step"] <= after]
        if self.path.exists():
            # The time of the dropped lines was spent too: it is noted before they go.
            write_atomic(out / ".seconds", json.dumps(self.before))
            write_atomic(self.path, "".join(json.dumps(line) + "\n" for line in keep))
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time that the run has trained, in all its processes."""
        return self.before + time.monotonic() - self.started

    def write(self, step: int, readings: dict[str, float]) -> None:
        """Append a step.

        Raises:
            ModelError: the disk takes no more.
        """
        line = json.dumps({"step": step} | readings | {"seconds": round(self.seconds, 3)})
        try:
            # Closed after each line: a kill costs none of them.
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise ModelError(
                "The losses cannot be written down.",
                expected="room for a line a step",
                found=error.strerror or str(error),
                where=str(self.path),
                fix="free some space, then start again: the run goes on from its last checkpoint",
            ) from error


def read_losses(out: Path) -> list[dict[str, Any]]:
    """The lines of a run's `losses.jsonl`; a last line that was cut off is left out."""
    path, lines = out / LOSSES, []
    if path.is_file():
        for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and isinstance(line.get("step"), int):
                lines.append(line)
    return lines


def spent_seconds(out: Path) -> float:
    """Seconds that a run has trained so far, as far as its files know."""
    noted = out / ".seconds"
    times = [float(line.get("seconds", 0.0)) for line in read_losses(out)]
    with suppress(OSError, ValueError, TypeError):
        times.append(float(json.loads(noted.read_text(encoding="utf-8"))))
    return max(times, default=0.0)


def forget_losses(out: Path) -> None:
    """Remove what an earlier run wrote here."""
    for path in (out / LOSSES, out / ".seconds"):
        path.unlink(missing_ok=True)
