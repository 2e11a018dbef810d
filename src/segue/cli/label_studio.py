"""`segue label-studio`: first masks for annotators; `segue data label-studio`: what they corrected."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from segue.cli.ask import Model
from segue.cli.option_groups import LoadingOptions, ServerOptions, expand_groups
from segue.cli.options import SERVER_PACKAGES, known_packages, make_way

_PORT = 9090
"""Where Label Studio's documents put such backends."""


@expand_groups
def label_studio(
    loading: LoadingOptions,
    server: ServerOptions,
    model: Model = "segue-mini",
    url: Annotated[
        str,
        typer.Option(help="Label Studio's address, for pictures that lie in it.", envvar="LABEL_STUDIO_URL"),
    ] = "",
    api_key: Annotated[
        str,
        typer.Option(
            help="Token of a user who may read the project; better in the environment than here.",
            envvar="LABEL_STUDIO_API_KEY",
            show_envvar=True,
        ),
    ] = "",
    local_files: Annotated[
        Path | None,
        typer.Option(help="Folder that Label Studio serves as local files.", metavar="DIR"),
    ] = None,
    question: Annotated[
        str, typer.Option(help="Asked for each label of a task without a prompt.", metavar="TEXT")
    ] = "Where is the {label}?",
    prompt_key: Annotated[
        str, typer.Option(help="Field of a task's data that holds its prompt.", metavar="NAME")
    ] = "prompt",
    shape: Annotated[
        Literal["brush", "polygon"] | None,
        typer.Option(help="What to draw where a project has both; the first of them by default."),
    ] = None,
    corrections: Annotated[
        Path | None,
        typer.Option(help="Folder to keep annotations in as they are submitted.", metavar="DIR"),
    ] = None,
) -> None:
    """Serve a model to Label Studio: a prompt over all images of a task becomes regions.

    It listens at port 9090. docs/label_studio.md shows a project from its configuration to a trained model.
    """
    known_packages(SERVER_PACKAGES, "segue label-studio", "label-studio")
    settings = server.settings()
    from segue.apps.label_studio.app import create_backend
    from segue.apps.label_studio.pictures import LabelStudio
    from segue.apps.label_studio.predict import Asking
    from segue.apps.server.run import serve as run
    from segue.cli.console import tell
    from segue.cli.options import known_folder

    known_folder(local_files)
    studio = LabelStudio(url, api_key, local_files)
    asking = Asking(question, prompt_key, shape)
    port = _PORT if server.port is None else server.port
    run(
        create_backend(server.load(loading, model), settings, studio, asking, corrections),
        settings,
        server.host,
        port,
        lambda bound: tell([f"serving {model} to Label Studio at http://{server.host}:{bound}"]),
    )


def convert(
    export: Annotated[Path, typer.Argument(help="JSON export of a project, or the folder of --corrections.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="COCO file to write.")],
    config: Annotated[
        Path | None,
        typer.Option(
            help="The project's labeling configuration (XML), where tasks have several fields of pictures."
        ),
    ] = None,
) -> None:
    """Turn what annotators drew in Label Studio into data for `segue train --data`."""
    import json

    from segue.apps.label_studio.corrections import read_export
    from segue.apps.label_studio.label_config import read_config
    from segue.cli.console import show_paths, tell
    from segue.files import write_atomic

    known = None if config is None else read_config(config.read_text(encoding="utf-8"))
    content, report = read_export(export, known)
    make_way(out)
    tell(report.lines())
    show_paths([write_atomic(out, json.dumps(content, ensure_ascii=False))])
