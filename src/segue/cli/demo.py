"""`segue demo`: a page to ask pictures in a browser."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli.option_groups import LoadingOptions, expand_groups
from segue.errors import InputError

if TYPE_CHECKING:
    from segue.inference.loaded_model import LoadedModel

EMBEDDED = ["segue-mini", "segue-scenes"]


@expand_groups
def demo(
    loading: LoadingOptions,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A preset with weights, a folder, or an agent's address; may be repeated. Visitors choose "
            "among these and no others.",
            show_default=", ".join(EMBEDDED),
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 for all of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any that is free.", min=0, max=65535)] = 7860,
) -> None:
    """Open a page: drop pictures, ask, and see the answer grow with masks in the colours of its phrases.

    docs/demo.md shows it.
    """  # fmt: skip
    if find_spec("gradio") is None:
        raise InputError(
            "The page's packages are not installed.", expected="gradio", found="no gradio",
            where="segue demo", fix="install the extra: pip install 'segue[demo]'",
        )  # fmt: skip
    from segue.apps.demo.run import serve
    from segue.cli.console import tell

    loaded: dict[str, LoadedModel] = {}
    for address in dict.fromkeys(model or EMBEDDED):
        tell([f"loading {address}"])
        found = loading.load(address)
        # An agent's name, unlike its address, tells visitors nothing about the network.
        name = found.name if found.name not in loaded else f"{found.name} ({len(loaded) + 1})"
        loaded[name] = found
    serve(loaded, host, port, lambda bound: tell([f"open http://{host}:{bound} in a browser; Ctrl-C ends"]))
