"""Output of the command line: results to stdout, everything else to stderr."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from segue.errors import SegueError

if TYPE_CHECKING:
    from segue.inference.answer import SessionAnswer


def out() -> Console:
    """For results. Made anew each time, so that it sees whether stdout is a terminal now."""
    return Console(highlight=False, soft_wrap=True)


def err() -> Console:
    """For remarks, progress and errors."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def tell(lines: Iterable[str]) -> None:
    """Print remarks, one a line; what looks like markup in them is text."""
    for line in lines:
        err().print(Text(line))


def complain(error: BaseException) -> None:
    """Print a user's mistake: what is wrong, what was expected and found, where, and what to do."""
    if isinstance(error, SegueError):
        summary, _, details = str(error).partition("\n")
    elif isinstance(error, MemoryError):
        summary, details = "There is not enough memory for this.", "  do this:  use smaller or fewer images"
    else:
        summary, details = str(error) or type(error).__name__, ""
    from segue.inference.visualize import printable

    message = Text("error: ", style="bold red") + Text(printable(summary), style="bold")
    if details:
        message += Text("\n" + printable(details))
    err().print(message)


def show_answer(answer: SessionAnswer) -> None:
    """Print an answer with coloured phrases, and on stderr what could not be placed.

    Presence scores stand beside the phrases where they are probabilities, else apart and marked.
    """
    from segue.inference.visualize import printable

    out().print(answer.coloured())
    there = [g for g in answer.groundings if g.presence is not None and not g.presence.calibrated]
    if there:
        scores = ", ".join(f"{g.phrase} {g.presence.score:.2f}" for g in there if g.presence is not None)
        line = f"how sure that it is there, uncalibrated (`segue calibrate`): {scores}"
        err().print(Text(printable(line), style="dim"))
    remarks = [f"[SEG] {p.seg_ordinal + 1} has no mask: {p.detail}" for p in answer.problems]
    for remark in remarks + list(answer.notes):
        err().print(Text(f"note: {remark}", style="yellow"))


def show_paths(paths: Sequence[Path]) -> None:
    """Print where files were written."""
    for path in paths:
        err().print(Text("wrote ", style="dim") + Text(str(path)))
