"""A terminal while it waits: a line that says what is loading, and an answer as it grows."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from segue.cli.console import err, out

if TYPE_CHECKING:
    from segue.inference.session import GroundingSession, SessionAnswer


@contextmanager
def loading(name: str) -> Iterator[None]:
    """A line on stderr while the block loads a model, where that is a terminal; taken back at its end.

    Args:
        name: Of the model.
    """
    from segue.inference.visualize import printable

    console = err()
    # No spinner: the thread that turns it would take its time from the imports that are waited for.
    line = printable(f"loading {name} ...")[: console.width - 1] if console.is_terminal else ""
    if line:
        console.print(line, style="dim", end="\r", markup=False)
    # Half a million objects are made, nearly all of them to stay: looking for garbage among them takes time.
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
        if line:
            console.print(" " * len(line), end="\r", markup=False)
    # What was loaded stays as long as the command: to look through it, and to take it apart, costs a second.
    gc.freeze()


def ask_growing(session: GroundingSession, question: str, **options: Any) -> SessionAnswer:
    """Ask, and show the answer as it grows where stdout is a terminal, with a line for each mask.

    What was shown is taken back at the end, for the final text has its colours, which are known only then.

    Args:
        session: Of any model.
        question: In words.
        **options: Those of `ask`.

    Returns:
        The answer, not yet printed in its final form.
    """
    console = out()
    if not console.is_terminal:
        return session.ask(question, **options)
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from segue.inference.streaming import Done, MaskReady, TextDelta
    from segue.inference.visualize import printable

    grown, masks = Text("\u2026", style="dim"), Text(style="dim")
    with Live(Group(grown, masks), console=console, transient=True, auto_refresh=False) as live:
        for event in session.stream(question, **options):
            if isinstance(event, TextDelta):
                grown.append(printable(event.text))
            elif isinstance(event, MaskReady):
                found = event.grounding
                place = f"image {found.image_index + 1}, {found.score:.2f}"
                masks.append(printable(f"mask {event.index + 1}: {found.phrase} ({place})") + "\n")
            elif isinstance(event, Done):
                return event.answer
            live.refresh()
    raise AssertionError("a stream ends with Done or raises")
