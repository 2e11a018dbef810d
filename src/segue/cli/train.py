"""`segue train`: run a recipe, or train a model on own data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from segue.cli.option_groups import expand_groups

OWN_DATA = "Own data"
"""Heading in `--help` over what concerns training on own data."""


@dataclass
class OwnDataOptions:
    """Options of training on own data; each becomes a field of the recipe."""

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
    cache_features: Annotated[
        bool,
        typer.Option(
            "--cache-features", help="Run the frozen encoders once per image.", rich_help_panel=OWN_DATA
        ),
    ] = False

    def changes(self) -> dict[str, Any]:
        """Fields of the recipe that they change: dotted name to value."""
        changed: dict[str, Any] = {}
        if self.model is not None:
            changed["model.start"] = self.model
        if self.data:
            entries = own_entries(self.data, self.images or [], self.format or [])
            changed["data.own"] = [entry | self.reading() for entry in entries]
        if self.val is not None:
            # Most people keep one folder of images for both files.
            folder = self.val_images or (self.images[0] if self.images else None)
            entry = {"path": str(self.val), "images": str(folder) if folder else None}
            changed["data.val"] = entry | ({"keep_crowds": True} if self.keep_crowds else {})
        if self.cache_features:
            changed["finetune.cache_features"] = True
        return changed

    def reading(self) -> dict[str, Any]:
        """How each data set is read, as fields of its entry."""
        split = {} if self.split is None else {"split": self.split}
        return split | ({"keep_crowds": True} if self.keep_crowds else {})

    def check_paths(self) -> None:
        """Refuse paths on the command line that are not there; those of a recipe may lie on another machine.

        Raises:
            InputError: Naming the first of them.
        """
        from segue.errors import InputError

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
        typer.Argument(help="A YAML recipe, such as recipes/scenes_joint.yaml; may be left out with --data."),
    ] = None,
    own: OwnDataOptions,
    steps: Annotated[
        int | None, typer.Option(help="Number of steps; by default three passes over the data.", min=1)
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
    from segue.files import make_folder

    changes = own.changes()
    if steps is not None:
        changes["optimiser.max_steps"] = steps
    if report_to:
        changes["report_to"] = list(report_to)
    if dry_run:
        own.check_paths()
    chosen = chosen_recipe(recipe, own.data or [])
    make_folder(out)
    # Lets recipes name the embedded model's stages, and own data teach it.
    import segue.mini.stages  # noqa: F401
    from segue.cli.console import show_paths
    from segue.training.run import train as run

    # JSON is YAML, which is what the values of overrides are; --set comes last and wins.
    written = [f"{name}={json.dumps(value)}" for name, value in changes.items()]
    show_paths([run(chosen, out, overrides=[*written, *(overrides or [])], dry_run=dry_run, resume=resume)])


def chosen_recipe(recipe: Path | None, data: Sequence[str]) -> Path:
    """The recipe that is named, or the one for own data.

    Raises:
        InputError: Neither a recipe nor data are given, or there is no such recipe.
    """
    from segue.errors import InputError

    if recipe is None and not data:
        raise InputError(
            "There is nothing to train on.",
            expected="a recipe, or --data FILE",
            found="neither",
            where="segue train",
            fix="segue train --model segue-mini --data my_coco.json --images DIR --out RUN",
        )
    if recipe is None:
        from segue.training.finetune.defaults import DEFAULT_RECIPE

        return DEFAULT_RECIPE
    if not recipe.is_file():
        raise InputError(
            "There is no such recipe.",
            expected="a YAML file",
            found="a folder" if recipe.is_dir() else "nothing",
            where=str(recipe),
            fix="check the path; the recipes that come with Segue lie in recipes/",
        )
    return recipe


def own_entries(data: Sequence[str], images: Sequence[Path], formats: Sequence[str]) -> list[dict[str, Any]]:
    """Entries of `data.own` from the command's options.

    Raises:
        InputError: Neither one folder (or format) for all data sets nor one for each.
    """
    folders = _one_each("--images", [str(folder) for folder in images], len(data))
    names = _one_each("--format", list(formats), len(data))
    entries: list[dict[str, Any]] = []
    for given, folder, name in zip(data, folders, names, strict=True):
        path, weight = split_weight(given)
        entry = {"path": path, "images": folder, "format": name, "weight": weight}
        entries.append({key: value for key, value in entry.items() if value is not None})
    return entries


def split_weight(given: str) -> tuple[str, float | None]:
    """`a.json::0.3` to path and weight; a path that has `::` in its name and exists is left whole.

    Raises:
        InputError: What follows the last `::` is not a positive number.
    """
    from segue.errors import InputError

    path, found, weight = given.rpartition("::")
    if not found or Path(given).exists():
        return given, None
    try:
        value = float(weight)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise InputError(
            "The weight of a data set cannot be used.",
            expected="PATH::WEIGHT with a positive number",
            found=repr(weight),
            where=f"--data {given}",
            fix=f"--data {path}::1.0",
        )
    return path, value


def _one_each(option: str, values: list[str], count: int) -> list[str | None]:
    from segue.errors import InputError

    if len(values) not in (0, 1, count):
        raise InputError(
            f"{option} does not fit --data.",
            expected=f"one for all data sets, or {count}",
            found=str(len(values)),
            where=option,
            fix=f"give {option} once, or once after each --data, in the same order",
        )
    if len(values) == count:
        return list(values)
    return [values[0] if values else None] * count
