"""`segue chat`: a conversation over several turns in the terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from segue.cli.ask import Images, MaxNewTokens, Model
from segue.cli.option_groups import LoadingOptions, expand_groups
from segue.errors import InputError, SegueError

if TYPE_CHECKING:
    from segue.inference.session import GroundingSession

HELP = """\
Type a question; later questions may refer to earlier ones.
  /images    the images and their numbers
  /add FILE  one more image, which gets the next number
  /undo      forget the last question and its answer
  /reset     forget the whole conversation
  /save DIR  write answers, overlays and pages into DIR
  /help      this list
  /quit      leave (or Ctrl-D); Ctrl-C stops an answer"""


@expand_groups
def chat(
    place: LoadingOptions,
    images: Images,
    model: Model = "segue-mini",
    max_new_tokens: MaxNewTokens = None,
) -> None:
    """Talk about several images over several turns.

    Questions are read line by line; /help lists the commands. Ctrl-C stops an answer and forgets it.
    """
    from segue.inference.inputs import MAX_NEW_TOKENS, check_budget, load_images

    budget = check_budget(MAX_NEW_TOKENS if max_new_tokens is None else max_new_tokens)
    pictures, names = load_images(images)
    from segue.cli.console import err
    from segue.cli.growing import loading

    with loading(model):
        session = place.load(model).session(pictures, names=names)
    if sys.stdin.isatty():
        err().print(
            f"{len(pictures)} image(s), {model}. /help lists the commands, /quit leaves.", style="dim"
        )
        # Windows has none.
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  arrow keys and history in input()
    while (line := _read_line()) is not None:
        if not _step(session, line, budget):
            return


def _read_line() -> str | None:
    """The next line without blanks; None at the end of the input. Ctrl-C clears the line, as in a shell."""
    prompt = "> " if sys.stdin.isatty() else ""
    while True:
        try:
            return input(prompt).strip()
        except EOFError:
            return None
        except UnicodeDecodeError:
            from segue.cli.console import complain

            complain(InputError("This line is not UTF-8.", fix="type or pipe the question as UTF-8 text"))
        except KeyboardInterrupt:
            from segue.cli.console import err

            err().print("\n(/quit or Ctrl-D leaves)", style="dim")


def _step(session: GroundingSession, line: str, budget: int) -> bool:
    """Do what a line says; False to leave. Mistakes are told, the conversation goes on."""
    from segue.cli.console import complain, err

    try:
        if line.startswith("/"):
            return _command(session, line)
        if line:
            _answer(session, line, budget)
    except SegueError as error:
        complain(error)
    except KeyboardInterrupt:
        err().print("\nstopped; this question is forgotten", style="yellow")
    return True


def _answer(session: GroundingSession, question: str, budget: int) -> None:
    from segue.cli.console import show_answer
    from segue.cli.growing import ask_growing

    show_answer(ask_growing(session, question, max_new_tokens=budget))


def _command(session: GroundingSession, line: str) -> bool:
    word, _, rest = line.partition(" ")
    if word in ("/quit", "/exit", "/q"):
        return False
    commands: dict[str, Callable[[GroundingSession, str], None]] = {
        "/images": _images,
        "/add": _add,
        "/undo": _undo,
        "/reset": _reset,
        "/save": _save,
        "/help": _help,
    }
    if word not in commands:
        raise InputError(
            "There is no such command.",
            expected=", ".join([*commands, "/quit"]),
            found=word,
            where="the line",
            fix="type /help; a question must not begin with /",
        )
    commands[word](session, rest.strip())
    return True


def _images(session: GroundingSession, rest: str) -> None:
    from rich.text import Text

    from segue.cli.console import out

    for number, (name, (height, width)) in enumerate(
        zip(session.names, session.image_hws, strict=True), start=1
    ):
        out().print(Text(f"image {number}: {name}, {width} x {height}"))


def _add(session: GroundingSession, rest: str) -> None:
    from segue.cli.console import tell

    if not rest:
        raise InputError(
            "The image is missing.",
            expected="/add FILE",
            found="/add",
            where="/add",
            fix="name an image file",
        )
    number = session.add_image(rest)
    tell([f"image {number}: {session.names[-1]}"])


def _undo(session: GroundingSession, rest: str) -> None:
    from rich.text import Text

    from segue.cli.console import err

    err().print(Text(f"forgotten: {session.undo().question}", style="dim"))


def _reset(session: GroundingSession, rest: str) -> None:
    from segue.cli.console import err

    session.reset()
    err().print("the conversation starts again", style="dim")


def _save(session: GroundingSession, rest: str) -> None:
    from segue.cli.console import show_paths

    if not rest or not session.history:
        raise InputError(
            "Nothing can be saved." if rest else "The folder is missing.",
            expected="/save DIR, after at least one answer",
            found=f"/save {rest}".strip() + f", {len(session.history)} answer(s)",
            where="/save",
            fix="ask a question, then /save answers",
        )
    show_paths(session.save(rest))


def _help(session: GroundingSession, rest: str) -> None:
    from segue.cli.console import out

    out().print(HELP, markup=False)
