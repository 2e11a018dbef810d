"""The command line: `segue ask`, `bench`, `calibrate`, `chat`, `convert`, `data`, `eval`, `export`, ...

Each verb lives in a module of its own and imports what it needs when it runs, so that `segue --help` and a
user's mistakes are answered at once. A user's mistake ends with a message on stderr and exit code 2, never
with a traceback; SEGUE_DEBUG=1 shows it.
"""

from __future__ import annotations

import atexit
import os
import sys
import warnings
from typing import Any

import typer

from segue.cli import (
    ask,
    bench,
    calibrate,
    chat,
    convert,
    data,
    demo,
    evaluate,
    export,
    label_studio,
    match,
    models,
    rate,
    serve,
    table,
    train,
)
from segue.errors import SegueError

app = typer.Typer(
    name="segue",
    help="Grounded conversations over several images: phrases of the answer get masks in the right image.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and stop.", is_eager=True),
) -> None:
    if version:
        import segue

        typer.echo(f"segue {segue.__version__}")
        raise typer.Exit


app.command("ask")(ask.ask)
app.command("bench")(bench.bench)
app.command("calibrate")(calibrate.calibrate)
app.command("chat")(chat.chat)
app.command("convert")(convert.convert)
app.command("init")(convert.init)
app.command("eval")(evaluate.evaluate)
app.command("export")(export.export)
app.command("info")(models.info)
app.command("label-studio")(label_studio.label_studio)
app.command("match")(match.match)
app.command("models")(models.list_models)
app.add_typer(data.app, name="data")
app.command("demo")(demo.demo)
app.command("rate")(rate.rate)
app.command("serve")(serve.serve)
app.command("table")(table.table)
app.command("train")(train.train)

USER_ERROR, INTERRUPTED = 2, 130
_show_warning = warnings.showwarning


def _stopped(at_once: bool) -> int:
    """Answer Ctrl-C; `at_once` where the process is ours to end."""
    from segue.cli.console import tell

    tell(["stopped"])
    if at_once:
        # Worker processes are ended here; taking torch apart, which is next, lasts seconds on a busy machine.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(INTERRUPTED)
    return INTERRUPTED


def _show_note(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
    """Say what is noticed about a picture as a remark; other warnings as Python does."""
    from segue.images import PictureNote

    if not issubclass(category, PictureNote):
        return _show_warning(message, category, *place, **options)
    from segue.cli.console import tell

    return tell([f"note: {message}"])


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        Exit code: 0, 2 for a user's mistake, 130 after Ctrl-C.
    """
    # Chatter of the libraries below us; what goes wrong is said by our own errors.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    debug = os.environ.get("SEGUE_DEBUG", "") not in ("", "0")
    warnings.showwarning = _show_note
    try:
        app(args=argv, prog_name="segue")
    except SystemExit as end:
        # As Python reads it: None is success, a text is a message and a failure.
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        return _stopped(argv is None) if code == INTERRUPTED else code
    except (SegueError, OSError, MemoryError) as error:
        if debug:
            raise
        from segue.cli.console import complain

        complain(error)
        return USER_ERROR
    return 0
