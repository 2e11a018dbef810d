"""`segue serve`: a model behind OpenAI's chat completions."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from segue.cli.ask import Model
from segue.cli.option_groups import LoadingOptions, expand_groups
from segue.errors import InputError

_NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


@expand_groups
def serve(
    loading: LoadingOptions,
    model: Model = "segue-mini",
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 for all of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any that is free.", min=0, max=65535)] = 8000,
    tokens: Annotated[
        Path | None,
        typer.Option(help="File of bearer tokens: TOKEN [name=NAME] [per_minute=N] [at_once=N] a line."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Host whose pictures are fetched; may be repeated.", metavar="HOST"),
    ] = None,
    internal_hosts: Annotated[
        bool, typer.Option("--internal-hosts", help="Allowed hosts may have internal addresses.")
    ] = False,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Origin of web pages that may ask, beside this machine's; * for all.", metavar="ORIGIN"
        ),
    ] = None,
    queue: Annotated[int, typer.Option(help="Requests under way; further ones get 429.", min=1)] = 64,
    batch_size: Annotated[int, typer.Option(help="Questions in one batch.", min=1)] = 8,
    max_body_mb: Annotated[int, typer.Option(help="Largest body of a request, in MiB.", min=1)] = 64,
    max_pixels: Annotated[int, typer.Option(help="Largest picture, in pixels.", min=1)] = 50_000_000,
    timeout: Annotated[float, typer.Option(help="Seconds for a whole request.", min=1)] = 300,
    grace: Annotated[float, typer.Option(help="Seconds for requests under way after SIGTERM.", min=1)] = 60,
) -> None:
    """Serve a model to programs: OpenAI's chat completions over several images, with masks.

    docs/serving.md shows clients, limits and how to put it behind a proxy.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(
            "The server's packages are not installed.", expected=", ".join(_NEEDED), found=f"no {missing[0]}",
            where="segue serve", fix="install the extra: pip install 'segue[serve]'",
        )  # fmt: skip
    # Whatever a user can get wrong comes before torch, which takes seconds.
    from segue.apps.server.access import read_tokens
    from segue.apps.server.settings import MEBIBYTE, Settings

    settings = Settings(
        tokens={} if tokens is None else read_tokens(tokens),
        allowed_hosts=tuple(allow_host or ()),
        internal_hosts=internal_hosts,
        cors_origins=tuple(cors_origin or ()),
        queue=queue,
        batch_size=batch_size,
        most_body=max_body_mb * MEBIBYTE,
        most_pixels=max_pixels,
        timeout=timeout,
        grace=grace,
    )
    from segue.apps.server.run import serve as run
    from segue.cli.console import tell

    run(
        loading.load(model),
        settings,
        host,
        port,
        lambda bound: tell([f"serving {model} at http://{host}:{bound}/v1"]),
    )
