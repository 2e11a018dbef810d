"""Groups of options become a command's own parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from segue.chat_model import Prices
from segue.cli.option_groups import GenerationOptions, expand_groups
from segue.errors import InputError


@dataclass
class Tea:
    """What a cup holds."""

    sort: Annotated[str, typer.Option(help="Of the leaves.")] = "green"
    sugar: Annotated[int, typer.Option(min=0)] = 0


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()

    @app.command()
    @expand_groups
    def pour(*, cups: Annotated[int, typer.Argument()], tea: Tea, hot: bool = True) -> None:
        """Pour tea."""
        typer.echo(f"{cups} {tea} {hot}")

    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.output


def test_a_group_takes_values_and_defaults() -> None:
    assert run("2", "--sugar", "3") == (0, "2 Tea(sort='green', sugar=3) True\n")


def test_bounds_of_a_field_hold() -> None:
    status, said = run("2", "--sugar", "-1")
    assert status == 2
    assert "sugar" in said


def test_help_shows_every_field_and_the_command_s_own_words() -> None:
    status, said = run("--help")
    assert status == 0
    assert all(word in said for word in ("Pour tea.", "--sort", "Of the leaves.", "--no-hot"))


def test_bounds_of_spending_are_read() -> None:
    budget = GenerationOptions(max_requests=7, max_hours=0.5, max_money=2, prices="2.5,10").budget()
    assert (budget.max_requests, budget.max_tokens, budget.max_seconds) == (7, None, 1800)
    assert budget.prices == Prices(2.5, 10)


@pytest.mark.parametrize("text", ["2.5", "a,b", "1,2,3", "-1,2", "nan,1", "inf,1", ""])
def test_prices_that_cannot_be_read(text: str) -> None:
    with pytest.raises(InputError, match="prices"):
        Prices.parse(text)
