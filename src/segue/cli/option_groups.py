"""Options that several commands share: one dataclass a group, expanded into a command's own parameters.

    @dataclass
    class Greeting:
        name: Annotated[str, typer.Option(help="Whom to greet.")] = "you"

    @expand_groups
    def hello(greeting: Greeting, loud: bool = False) -> None: ...      # hello --name NAME --loud

Typer makes an option of each parameter of a function; a group takes the place of as many parameters as it has
fields, in their order.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from segue.apps.server.settings import Settings
    from segue.chat_model import Budget, OpenAIChatModel
    from segue.datasets.generation import GenerationSettings
    from segue.inference.loaded_model import LoadedModel

CHAT_MODEL = "Chat model"
"""Heading in `--help` over what concerns a chat model."""


def expand_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Expand each parameter of a dataclass type into that dataclass's fields.

    Args:
        command: A command's function; keyword parameters only, as Typer calls it.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    expanded: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            expanded += _options_of(groups[name])
        else:
            expanded.append(_option(name, parameter.default, hints[name]))
    names = {name: [field.name for field in fields(group)] for name, group in groups.items()}

    @functools.wraps(command)
    def run(**options: Any) -> None:
        for name, group in groups.items():
            options[name] = group(**{field: options.pop(field) for field in names[name]})
        command(**options)

    # Typer reads the signature, and resolves what annotations are strings; none is by now.
    run.__signature__ = inspect.Signature(expanded)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in expanded}
    return run


def _options_of(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [_option(field.name, field.default, hints[field.name]) for field in fields(group)]


def _option(name: str, default: object, annotation: object) -> inspect.Parameter:
    # Keyword-only, so that one without a default may follow a group, whose fields all have one.
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


@dataclass
class LoadingOptions:
    """Where and how precisely a model runs."""

    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, ...; the first GPU if there is one.")
    ] = None
    dtype: Annotated[
        str | None,
        typer.Option(help="float32, bfloat16 or float16; float32, and bfloat16 for large models on a GPU."),
    ] = None
    quantize: Annotated[
        str | None,
        typer.Option(help="8bit or 4bit: shrinks the language model; masks are drawn unquantised."),
    ] = None

    calibration: Annotated[
        Path | None,
        typer.Option(help="Of presence scores, by `segue calibrate`; that of the model's folder by default."),
    ] = None

    def load(self, model: str) -> LoadedModel:
        """The model; see `segue.load`."""
        from segue.loading import load

        return load(model, self.device, self.dtype, self.quantize, self.calibration)

    @property
    def precision(self) -> dict[str, str]:
        """What changes answers, where it was given."""
        given = {"dtype": self.dtype, "quantize": self.quantize}
        return {name: value for name, value in given.items() if value is not None}


@dataclass
class ServerOptions:
    """Where a server listens, and what it takes."""

    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for all of this machine.")] = (
        "127.0.0.1"
    )
    port: Annotated[
        int | None, typer.Option(help="0 for any that is free.", min=0, max=65535, show_default=False)
    ] = None
    tokens: Annotated[
        Path | None,
        typer.Option(help="File of bearer tokens: TOKEN name=NAME per_minute=N at_once=N a line."),
    ] = None
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Host whose pictures are fetched; may be repeated.", metavar="HOST"),
    ] = None
    internal_hosts: Annotated[
        bool, typer.Option("--internal-hosts", help="Allowed hosts may have internal addresses.")
    ] = False
    queue: Annotated[int, typer.Option(help="Requests under way; further ones get 429.", min=1)] = 64
    batch_size: Annotated[int, typer.Option(help="Questions in one batch.", min=1)] = 8
    max_body_mb: Annotated[int, typer.Option(help="Largest body of a request, in MiB.", min=1)] = 64
    max_pixels: Annotated[int, typer.Option(help="Largest picture, in pixels.", min=1)] = 50_000_000
    cache_mb: Annotated[
        int, typer.Option(help="Encoder outputs of pictures to keep, in MiB of the device's memory.", min=0)
    ] = 1024
    timeout: Annotated[float, typer.Option(help="Seconds for a whole answer.", min=1)] = 300
    grace: Annotated[float, typer.Option(help="Seconds for requests under way after SIGTERM.", min=1)] = 60

    def load(self, loading: LoadingOptions, model: str) -> LoadedModel:
        """The model, which keeps no more of pictures than is wanted."""
        loaded = loading.load(model)
        loaded.encoder_cache.most_bytes = self.cache_mb << 20
        return loaded

    def settings(self, cors_origins: Sequence[str] = ()) -> Settings:
        """The server's settings.

        Raises:
            InputError: The file of tokens cannot be used.
        """
        from segue.apps.server.access import read_tokens
        from segue.apps.server.settings import MEBIBYTE, Settings

        return Settings(
            tokens={} if self.tokens is None else read_tokens(self.tokens),
            allowed_hosts=tuple(self.allow_host or ()),
            internal_hosts=self.internal_hosts,
            cors_origins=tuple(cors_origins),
            queue=self.queue,
            batch_size=self.batch_size,
            most_body=self.max_body_mb * MEBIBYTE,
            most_pixels=self.max_pixels,
            timeout=self.timeout,
            grace=self.grace,
        )


@dataclass
class GenerationOptions:
    """Options of the commands that let a chat model write data."""

    attempts: Annotated[
        int,
        typer.Option(help="Replies to a request before it is given up.", min=1, rich_help_panel=CHAT_MODEL),
    ] = 3
    concurrency: Annotated[
        int, typer.Option(help="Requests at the same time.", min=1, max=256, rich_help_panel=CHAT_MODEL)
    ] = 4
    rate: Annotated[
        float | None, typer.Option(help="Requests per minute at most.", rich_help_panel=CHAT_MODEL)
    ] = None
    timeout: Annotated[
        float, typer.Option(help="Seconds for one request.", min=0.1, rich_help_panel=CHAT_MODEL)
    ] = 120.0
    retries: Annotated[
        int, typer.Option(help="After a failure on the way.", min=0, rich_help_panel=CHAT_MODEL)
    ] = 4
    max_requests: Annotated[
        int | None, typer.Option(help="Over all runs in this folder.", rich_help_panel=CHAT_MODEL)
    ] = None
    max_tokens: Annotated[
        int | None, typer.Option(help="Over all runs in this folder.", rich_help_panel=CHAT_MODEL)
    ] = None
    max_money: Annotated[float | None, typer.Option(help="Needs --prices.", rich_help_panel=CHAT_MODEL)] = (
        None
    )
    max_hours: Annotated[float | None, typer.Option(help="Of this run.", rich_help_panel=CHAT_MODEL)] = None
    prices: Annotated[
        str | None,
        typer.Option(help="Of a million prompt and completion tokens: 2.5,10", rich_help_panel=CHAT_MODEL),
    ] = None

    def settings(self) -> GenerationSettings:
        """The way to run a generation."""
        from segue.datasets.generation import GenerationSettings

        return GenerationSettings(
            attempts=self.attempts, concurrency=self.concurrency, requests_per_minute=self.rate
        )

    def budget(self) -> Budget:
        """The budget of a run; InputError where it allows nothing, or prices cannot be read."""
        from segue.chat_model import Budget, Prices

        return Budget(
            max_requests=self.max_requests,
            max_tokens=self.max_tokens,
            max_money=self.max_money,
            max_seconds=None if self.max_hours is None else 3600 * self.max_hours,
            prices=None if self.prices is None else Prices.parse(self.prices),
        )

    def chat_model(self, url: str, model: str | None) -> OpenAIChatModel:
        """The client of a server."""
        from segue.chat_model import OpenAIChatModel, RetryPolicy

        return OpenAIChatModel(url, model, retry=RetryPolicy(retries=self.retries, timeout=self.timeout))
