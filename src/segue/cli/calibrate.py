"""`segue calibrate`: presence scores of a model brought to the frequencies that data show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segue.cli.ask import MaxNewTokens, Model
from segue.cli.evaluate import DataOptions
from segue.cli.option_groups import LoadingOptions, expand_groups


@expand_groups
def calibrate(
    data: Annotated[Path, typer.Option("--data", help="Records with masks, or what `segue eval` reads.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Calibration to write, such as calibration.json.")],
    records: DataOptions,
    place: LoadingOptions,
    model: Model = "segue-mini",
    absent: Annotated[
        bool,
        typer.Option("--absent/--no-absent", help="Ask each first question also where the thing is not."),
    ] = True,
    max_new_tokens: MaxNewTokens = None,
    batch_size: Annotated[int, typer.Option(help="Conversations asked together.", min=1, max=1024)] = 8,
) -> None:
    """Fit how sure a model may be that what it draws is there at all.

    It is asked the questions of the data; a logistic function of its confidences in mask and phrase is fitted
    to whether an annotated mask lies there. A page beside the file shows the reliability. Sessions take the
    file with --calibration, or from the model's folder as calibration.json.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
    from rich.table import Table

    from segue.cli.console import err, show_paths
    from segue.cli.console import out as console
    from segue.evaluation.calibration import FOLDS, IOU, cross_validated, fit, judged_groundings
    from segue.evaluation.calibration_report import calibration_page, number_rows
    from segue.files import make_folder, write_atomic
    from segue.inference.inputs import MAX_NEW_TOKENS, check_budget
    from segue.records.presence import write_calibration

    budget = check_budget(MAX_NEW_TOKENS if max_new_tokens is None else max_new_tokens)
    read = records.read(data)
    make_folder(out.parent)
    loaded = place.load(model)
    with Progress(
        BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=err(), disable=not err().is_terminal
    ) as bar:
        task = bar.add_task("conversations", total=len(read.conversations))
        judged = judged_groundings(
            loaded,
            read,
            absent=absent,
            max_new_tokens=budget,
            batch_size=batch_size,
            progress=lambda done, total: bar.update(task, completed=done),
        )
    fitted, measured = fit(judged), cross_validated(judged)
    about = {
        "model": loaded.name,
        "data": data.name,
        "conversations": len(read.conversations),
        "groundings": len(judged),
        "there": sum(j.there for j in judged),
        "asked where the thing is not": sum(j.asked_absent for j in judged),
        "iou": IOU,
        "folds": FOLDS,
        "measured": measured.numbers(),
    }
    page = out.with_suffix(".html")
    write_calibration(fitted.about_it(about), out)
    write_atomic(page, calibration_page(measured, about))
    table = Table("", "uncalibrated", "calibrated", pad_edge=False)
    for row in number_rows(about):
        table.add_row(*row)
    console().print(
        f"{about['groundings']} groundings, {about['there']} there; weights "
        + ", ".join(f"{name} {weight:.2f}" for name, weight in fitted.weights.items())
        + f", bias {fitted.bias:.2f}",
        markup=False,
    )
    console().print(table)
    show_paths([out, page])
