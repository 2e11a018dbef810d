"""`segue serve`: a model behind OpenAI's chat completions."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from segue.cli.ask import Model
from segue.cli.option_groups import LoadingOptions, ServerOptions, expand_groups
from segue.cli.options import SERVER_PACKAGES, known_packages
from segue.errors import InputError

_PORT = 8000


@expand_groups
def serve(
    loading: LoadingOptions,
    server: ServerOptions,
    model: Model = "segue-mini",
    engine: Annotated[
        Literal["builtin", "ray"],
        typer.Option(help="ray: several models on Ray Serve behind the same API (extra scale)."),
    ] = "builtin",
    replicas: Annotated[int, typer.Option(help="Models with --engine ray.", min=1, max=1024)] = 1,
    ray_address: Annotated[
        str | None,
        typer.Option(help="Of a Ray cluster, or auto; by default Ray is started here.", metavar="ADDRESS"),
    ] = None,
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
    if engine == "builtin" and (replicas > 1 or ray_address is not None):
        raise InputError(
            "There is one model without Ray.",
            expected="--engine ray with --replicas and --ray-address",
            found="--engine builtin",
            where="segue serve",
            fix="add --engine ray (extra scale), or leave them out",
        )
    from segue.apps.server.app import create_app
    from segue.apps.server.run import serve as run
    from segue.cli.console import tell

    if engine == "ray":
        from segue.apps.server.ray_engine import ModelSource, start_replicas
        from segue.apps.server.service import Named

        source = ModelSource(model, loading.device, loading.dtype, loading.quantize, server.cache_mb << 20)
        behind = start_replicas(source, settings, replicas, ray_address)
        app = create_app(Named(behind.name), settings, behind)
    else:
        app = create_app(server.load(loading, model), settings)
    port = _PORT if server.port is None else server.port
    run(
        app,
        settings,
        server.host,
        port,
        lambda bound: tell([f"serving {model} at http://{server.host}:{bound}/v1"]),
    )
