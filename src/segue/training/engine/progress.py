"""Progress of a run on a terminal: a bar with losses and time left; silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.utils.logging import disable_progress_bar

SHOWN = ("loss", "text", "dice", "pixel")
"""Readings on the bar; all of them are in losses.jsonl and go to TensorBoard or W&B."""


class RunProgress(TrainerCallback):
    """A bar with the latest losses, in the first process and on a terminal only."""

    def __init__(self) -> None:
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                desc="training",
                unit="step",
                disable=not sys.stderr.isatty(),
                dynamic_ncols=True,
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.update(1)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if self.bar is not None and logs:
            self.bar.set_postfix({n: f"{logs[n]:.3f}" for n in SHOWN if isinstance(logs.get(n), float)})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.close()


class EverySteps(TrainerCallback):
    """Calls `action(step)` every so many steps and at the end, in the first process only.

    Args:
        every: Steps between two calls; 0 never calls.
    """

    def __init__(self, every: int, action: Callable[[int], object]) -> None:
        self.every, self.action = every, action
        self.last = -1

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.every and state.global_step % self.every == 0:
            self._call(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.every and self.last != state.global_step:
            self._call(state)

    def _call(self, state: Any) -> None:
        self.last = state.global_step
        if state.is_world_process_zero:
            self.action(state.global_step)


def replace_progress(trainer: Any) -> None:
    """Put `RunProgress` in the place of the Trainer's own bar and printing."""
    for printing in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(printing)
    trainer.add_callback(RunProgress())
    if not sys.stderr.isatty():
        # Saving has a bar of its own.
        disable_progress_bar()


def tell(lines: Iterable[str]) -> None:
    """Print remarks; results of a command go to stdout, remarks to stderr."""
    for line in lines:
        print(line, file=sys.stderr)
