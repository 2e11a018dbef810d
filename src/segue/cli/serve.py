"""`segue serve`: a model behind OpenAI's chat completions."""

from __future__ import annotations

from typing import Annotated

import typer

from segue.cli.ask import Model
from segue.cli.option_groups import LoadingOptions, ServerOptions, expand_groups
from segue.cli.options import SERVER_PACKAGES, known_packages

_PORT = 8000


@expand_groups
def serve(
    loading: LoadingOptions,
    server: ServerOptions,
    model: Model = "segue-mini",
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Origin of web pages that may ask, beside this machine's; * for all.", metavar="ORIGIN"
        ),
    ] = None,
) -> None:
    """Serve a model to programs: OpenAI's chat completions over several images, with masks.

    It listens at port 8000. docs/serving.md shows clients, limits and how to put it behind a proxy.
    """
    known_packages(SERVER_PACKAGES, "segue serve", "serve")
    # Whatever a user can get wrong comes before torch, which takes seconds.
    settings = server.settings(cors_origin or ())
    from segue.apps.server.app import create_app
    from segue.apps.server.run import serve as run
    from segue.cli.console import tell

    port = _PORT if server.port is None else server.port
    run(
        create_app(loading.load(model), settings),
        settings,
        server.host,
        port,
        lambda bound: tell([f"serving {model} at http://{server.host}:{bound}/v1"]),
    )
