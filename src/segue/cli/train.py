"""`segue train`: run a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe, such as recipes/mini.yaml.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Run folder: resolved recipe, checkpoints, final model.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value of the recipe; may be repeated.", metavar="A.B=C"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the resolved recipe and stop.")] = False,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in --out.")] = True,
) -> None:
    """Train a model by a recipe."""
    from segue.errors import InputError
    from segue.inference.report import make_folder

    if not recipe.is_file():
        raise InputError(
            "There is no such recipe.",
            expected="a YAML file",
            found="a folder" if recipe.is_dir() else "nothing",
            where=str(recipe),
            fix="check the path; the recipes that come with Segue lie in recipes/",
        )
    make_folder(out)
    from segue.cli.console import show_paths
    from segue.training.run import train as run

    show_paths([run(recipe, out, overrides=list(overrides or []), dry_run=dry_run, resume=resume)])
