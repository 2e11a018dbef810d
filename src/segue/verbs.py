"""Verbs of `import segue` that work on data: `read_data`, `train`, `evaluate`, as the command line has them.

They only put together what lower floors do, so that a notebook needs no names from inside the package.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segue.errors import InputError

if TYPE_CHECKING:
    from segue.data.own.sources import OwnData
    from segue.inference.loaded_model import LoadedModel

Paths = str | Path | Sequence[str | Path]
"""One path or several."""


def read_data(
    path: str | Path,
    images: str | Path | None = None,
    format: str | None = None,
    *,
    split: str = "train",
    keep_crowds: bool = False,
) -> OwnData:
    """Read a user's annotations in any known format, without decoding an image; see docs/own_data.md.

    Args:
        path: The annotation file or folder.
        images: Folder of the images; by default where the annotations say, or beside them.
        format: One of `segue.data.own.FORMATS`; recognised by content when not given.
        split: Part of the data to take, where they are divided.
        keep_crowds: COCO: keep what is marked `iscrowd` 1, each as one object.

    Returns:
        `source`, which draws conversations; `report`, which tells what was kept and dropped; `files`.

    Raises:
        InputError: No such path, an unknown format or split, or nothing usable.
        RecordError: A file is not in the format that it was said to be in.
    """
    from segue.data.own import read_own_data

    return read_own_data(
        path, images, format, split=split, keep_crowds=keep_crowds, images_option="the folder `images`"
    )


def train(
    recipe: str | Path | None = None,
    *,
    out: str | Path,
    model: str | Path | None = None,
    data: Paths = (),
    images: Paths = (),
    format: str | Sequence[str] = (),
    split: str | None = None,
    keep_crowds: bool = False,
    val: str | Path | None = None,
    val_images: str | Path | None = None,
    regions: float = 0.0,
    steps: int | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    dry_run: bool = False,
    resume: bool = True,
) -> Path:
    """Train a model on own data, or run a recipe; see docs/own_data.md and docs/training.md.

    `segue.train(out="run", model="segue-mini", data="my_coco.json", images="photos")`

    Args:
        recipe: A YAML recipe; the one for own data when `data` are given.
        out: Run folder: resolved recipe, checkpoints, and at the end `final/`, which `segue.load` takes.
        model: What to start from, a folder or a preset with weights.
        data: Annotations in any known format, with shares of a mixture as "PATH::0.3".
        images: Folder of the images: one for all data, or one for each.
        format: Name of the format, where it is not recognised: one for all data, or one for each.
        split: Part of the data to train on, where they are divided; train by default.
        keep_crowds: COCO: keep what is marked `iscrowd` 1, each as one object.
        val: Annotations that the picture sheets ask about.
        val_images: Folder of their images; the first of `images` by default.
        regions: Share of the conversations that point at a region, 0 to 1; see docs/matching.md.
        steps: Number of optimiser steps; by default three passes over the data, and no fewer than
            `finetune.min_steps`.
        overrides: Values of the recipe by dotted name, or `a.b=value`; they come last and win.
        dry_run: Write the resolved recipe, say what the run needs, and stop.
        resume: Go on from the last checkpoint in `out`.

    Returns:
        The folder of the final model; of the run in a dry run.

    Raises:
        InputError: Anything that cannot be used, before any work. RecordError: a wrong annotation file.
    """
    entries = own_entries(_listed(data), _listed(images), _listed(format))
    changes: dict[str, Any] = {}
    if model is not None:
        changes["model.start"] = str(model)
    if entries:
        reading = ({} if split is None else {"split": split}) | ({"keep_crowds": True} if keep_crowds else {})
        changes["data.own"] = [entry | reading for entry in entries]
    if val is not None:
        # Most people keep one folder of images for both files.
        folder = val_images or next(iter(_listed(images)), None)
        entry = {"path": str(val), "images": None if folder is None else str(folder)}
        changes["data.val"] = entry | ({"keep_crowds": True} if keep_crowds else {})
    if regions:
        changes["data.regions"] = regions
    if steps is not None:
        changes["optimiser.max_steps"] = steps
    given = overrides.items() if isinstance(overrides, Mapping) else ()
    # JSON is YAML, which is what the values of overrides are; the caller's own come last and win.
    written = [f"{name}={json.dumps(value, default=str)}" for name, value in (*changes.items(), *given)]
    chosen = chosen_recipe(None if recipe is None else Path(recipe), bool(entries))
    from segue.files import make_folder

    make_folder(Path(out))
    # Lets recipes name the embedded model's stages, and own data teach it.
    import segue.mini.stages  # noqa: F401
    from segue.training.run import train as run

    more = () if isinstance(overrides, Mapping) else overrides
    return run(chosen, out, overrides=[*written, *more], dry_run=dry_run, resume=resume)


def evaluate(
    model: str | Path | LoadedModel,
    data: str | Path,
    out: str | Path,
    *,
    images: str | Path | None = None,
    format: str | None = None,
    split: str = "val",
    count: int = 100,
    limit: int | None = None,
    seed: int = 0,
    batch_size: int = 1,
    protocol: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **asking: Any,
) -> dict[str, Any]:
    """Measure a model: every question of the data is asked, every answer generated freely and scored.

    A folder in which the same evaluation was begun is gone on with; failed questions count as zero. See
    docs/evaluation.md.

    Args:
        model: A loaded model, or what `segue.load` takes.
        data: Records, or annotations in any known format.
        out: Folder for `metrics.json`, `predictions.jsonl` and `report.html`.
        images, format, split, count, limit, seed: Those of `segue eval`; see `read_evaluation_data` in
            `segue.evaluation.evaluation_data`.
        batch_size: Conversations that are asked together.
        protocol: How to score; that of the data by default.
        overwrite: Begin anew where another evaluation lies.
        progress: Called with (done, total) after each conversation.
        **asking: Fields of `segue.evaluation.evaluate.AskingOptions`, such as `shuffle_images=True`.

    Returns:
        The content of `metrics.json`.

    Raises:
        InputError: Data, a folder or an option that cannot be used. ModelError: no such model.
    """
    from segue.evaluation.evaluate import AskingOptions, ScoringOptions
    from segue.evaluation.evaluate import evaluate as run
    from segue.evaluation.evaluation_data import read_evaluation_data
    from segue.files import make_folder
    from segue.loading import load

    read = read_evaluation_data(
        Path(data), None if images is None else Path(images), format,
        split=split, count=count, limit=limit, seed=seed,
    )  # fmt: skip
    make_folder(Path(out))
    return run(
        load(model) if isinstance(model, str | Path) else model,
        read.conversations,
        out,
        root=read.root,
        asking=AskingOptions(seed=seed, **asking),
        scoring=ScoringOptions(protocol=protocol),
        overwrite=overwrite,
        batch_size=batch_size,
        progress=progress,
    )


# ---------------------------------------------------------------------------------------- arguments of train
def chosen_recipe(recipe: Path | None, own_data: bool) -> Path:
    """The recipe that is named, or the one for own data.

    Raises:
        InputError: Neither a recipe nor data are given, or there is no such recipe.
    """
    if recipe is None and not own_data:
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


def own_entries(data: Sequence[str], images: Sequence[str], formats: Sequence[str]) -> list[dict[str, Any]]:
    """Entries of `data.own` in a recipe.

    Raises:
        InputError: Neither one folder (or format) for all data sets nor one for each.
    """
    folders = _one_each("--images", images, len(data))
    names = _one_each("--format", formats, len(data))
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


def _listed(given: Paths) -> list[str]:
    return [str(given)] if isinstance(given, str | Path) else [str(item) for item in given]


def _one_each(option: str, values: Sequence[str], count: int) -> Sequence[str | None]:
    # No data: the recipe has its own, and a folder of images may be meant for `val`.
    if count and len(values) not in (0, 1, count):
        raise InputError(
            f"{option} does not fit --data.",
            expected=f"one for all data sets, or {count}",
            found=str(len(values)),
            where=option,
            fix=f"give {option} once, or once after each --data, in the same order",
        )
    if len(values) == count:
        return values
    return [values[0] if values else None] * count
