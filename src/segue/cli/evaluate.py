"""`segue eval`: free generation over a file of records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from segue.cli.ask import Device, MaxNewTokens, Model


def evaluate(
    data: Annotated[Path, typer.Option(help="gconv/1 records; image paths are relative to its folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for metrics.json and predictions.jsonl.")],
    model: Model = "segue-mini",
    limit: Annotated[int | None, typer.Option(help="Only the first N conversations.", min=1)] = None,
    shuffle_images: Annotated[
        bool, typer.Option("--shuffle-images", help="Control: show images of other conversations.")
    ] = False,
    history: Annotated[
        Literal["own", "truth"], typer.Option(help="Earlier answers that later questions see.")
    ] = "own",
    max_new_tokens: MaxNewTokens = None,
    seed: Annotated[int, typer.Option(help="Of the shuffling.", min=0)] = 0,
    device: Device = None,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
) -> None:
    """Measure a model: every question is asked, every answer generated freely and scored."""
    from segue.files import make_folder
    from segue.inference.inputs import MAX_NEW_TOKENS, check_budget
    from segue.records import read_jsonl

    budget = check_budget(MAX_NEW_TOKENS if max_new_tokens is None else max_new_tokens)
    conversations = read_jsonl(data)
    make_folder(out)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    from segue.cli.console import err, show_paths
    from segue.evaluation.evaluate import evaluate as run
    from segue.loading import load

    bundle = load(model, device)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err(), disable=not progress) as bar:
        task = bar.add_task("conversations", total=None)
        metrics = run(
            bundle,
            conversations,
            out,
            root=data.parent,
            shuffle_images=shuffle_images,
            limit=limit,
            history=history,
            max_new_tokens=budget,
            seed=seed,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _show(metrics)
    show_paths([out / "metrics.json", out / "predictions.jsonl"])


def _show(metrics: dict[str, Any]) -> None:
    """A table: all turns, then each turn number and each number of images."""
    from rich.table import Table

    from segue.cli.console import err, out

    columns = {
        "mean_iou": "IoU",
        "recall_at_50": "R@0.5",
        "phrase_f1": "F1",
        "image_id_accuracy": "image",
        "exact_match": "exact",
        "n_turns": "turns",
        "n_masks": "masks",
    }
    table = Table("", *columns.values())

    def add(label: str, numbers: dict[str, Any]) -> None:
        values = (numbers[name] for name in columns)
        table.add_row(
            label, *("-" if v is None else f"{v:.3f}" if isinstance(v, float) else str(v) for v in values)
        )

    add("all", metrics)
    for group, label in (("by_turn", "turn {}"), ("by_number_of_images", "images: {}"), ("by_kind", "{}")):
        for name, numbers in metrics[group].items():
            add(label.format(name), numbers)
    out().print(table, soft_wrap=False)
    if metrics["phrase_f1_image_dependent"] is not None:
        f1, n = metrics["phrase_f1_image_dependent"], metrics["n_image_dependent"]
        out().print(f"phrase_f1 where the images are needed: {f1:.3f} ({n} turns)")
    if metrics["failures"]["count"]:
        first = metrics["failures"]["first"][0]
        err().print(
            f"{metrics['failures']['count']} turn(s) failed and count as zero; first: {first['reason']}",
            style="yellow",
            markup=False,
        )
