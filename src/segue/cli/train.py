"""`segue train`: run a recipe, or train a model on own data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from segue.cli.option_groups import expand_groups

OWN_DATA = "Own data"
"""Heading in `--help` over what concerns training on own data."""


@dataclass
class OwnDataOptions:
    """Options of training on own data; see `segue.verbs.train`."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="What to start from, a folder or a preset with weights.",
            rich_help_panel=OWN_DATA,
        ),
    ] = None  # fmt: skip
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="A file or folder of annotations; may be repeated, with shares as PATH::0.3.",
            metavar="PATH[::WEIGHT]", rich_help_panel=OWN_DATA,
        ),
    ] = None  # fmt: skip
    images: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of the images: one for all --data, or one for each.", metavar="DIR",
            rich_help_panel=OWN_DATA,
        ),
    ] = None  # fmt: skip
    format: Annotated[
        list[str] | None,
        typer.Option(
            help="Format of --data, when it is not recognised: one for all, or one for each.",
            rich_help_panel=OWN_DATA,
        ),
    ] = None  # fmt: skip
    split: Annotated[
        str | None,
        typer.Option(
            help="Part of --data to train on, where the data are divided; train by default.",
            rich_help_panel=OWN_DATA,
        ),
    ] = None  # fmt: skip
    keep_crowds: Annotated[
        bool,
        typer.Option(
            "--keep-crowds", help="COCO: keep what is marked iscrowd 1, each as one object.",
            rich_help_panel=OWN_DATA,
        ),
    ] = False  # fmt: skip
    val: Annotated[
        Path | None, typer.Option(help="Annotations that picture sheets ask about.", rich_help_panel=OWN_DATA)
    ] = None
    val_images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the images of --val; the first --images by default.", rich_help_panel=OWN_DATA
        ),
    ] = None
    regions: Annotated[
        float,
        typer.Option(
            help="Share of the conversations that point at a region (docs/matching.md).",
            min=0,
            max=1,
            rich_help_panel=OWN_DATA,
        ),
    ] = 0.0
    cache_features: Annotated[
        bool,
        typer.Option(
            "--cache-features", help="Run the frozen encoders once per image.", rich_help_panel=OWN_DATA
        ),
    ] = False

    def check_paths(self) -> None:
        """Refuse paths on the command line that are not there; those of a recipe may lie on another machine.

        Raises:
            InputError: Naming the first of them.
        """
        from segue.errors import InputError
        from segue.verbs import split_weight

        files = [Path(split_weight(given)[0]) for given in self.data or []]
        folders = [*(self.images or []), *([self.val_images] if self.val_images is not None else [])]
        for path in (*files, *folders, *([self.val] if self.val is not None else [])):
            if not path.exists():
                raise InputError(
                    "There is no such file or folder.",
                    expected="annotations for --data and --val, a folder for --images",
                    found="nothing",
                    where=str(path),
                    fix="mend the path; a recipe may name what is not there yet, the command may not",
                )


@expand_groups
def train(
    *,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Run folder: resolved recipe, checkpoints, final model.")
    ],
    recipe: Annotated[
        Path | None,
        typer.Argument(help="A YAML recipe, such as recipes/mini_talk.yaml; may be left out with --data."),
    ] = None,
    own: OwnDataOptions,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Number of steps; by default three passes over the data, or more where the model needs it.",
            min=1,
        ),
    ] = None,
    report_to: Annotated[
        list[str] | None, typer.Option(help="tensorboard or wandb; may be repeated.", metavar="NAME")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value of the recipe; may be repeated.", metavar="A.B=C"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the resolved recipe, say what the run needs, and stop.")
    ] = False,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in --out.")] = True,
) -> None:
    """Train a model by a recipe, or on your own data.

    segue train --model segue-mini --data my_coco.json --images DIR --out RUN
    """
    if dry_run:
        own.check_paths()
    from segue.cli.console import show_paths
    from segue.verbs import train as run

    changes = [f"report_to={json.dumps(report_to)}"] if report_to else []
    if own.cache_features:
        changes.append("finetune.cache_features=true")
    final = run(
        recipe,
        out=out,
        model=own.model,
        data=own.data or (),
        images=own.images or (),
        format=own.format or (),
        split=own.split,
        keep_crowds=own.keep_crowds,
        val=own.val,
        val_images=own.val_images,
        regions=own.regions,
        steps=steps,
        overrides=[*changes, *(overrides or [])],
        dry_run=dry_run,
        resume=resume,
    )
    show_paths([final])
