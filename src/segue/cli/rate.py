"""`segue rate`: blind sheets for human raters, and what came back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def rate(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder: sheet.html and key.json, or ratings.json.")
    ],
    data: Annotated[Path | None, typer.Option(help="What was asked, as for `segue eval`.")] = None,
    row: Annotated[
        list[str] | None,
        typer.Option(help="Answers to rate; may be repeated.", metavar="NAME=FOLDER"),
    ] = None,
    split: Annotated[str, typer.Option(help="Part of data that are divided.")] = "val",
    count: Annotated[int, typer.Option(help="Questions on the sheet.", min=1)] = 20,
    seed: Annotated[int, typer.Option(help="Of the draws.", min=0)] = 0,
    ratings: Annotated[Path | None, typer.Option(help="CSV that the sheet's button saved.")] = None,
    key: Annotated[Path | None, typer.Option(help="key.json of that sheet.")] = None,
) -> None:
    """Make a blind rating sheet of evaluated rows, or read a rater's CSV (--ratings with --key)."""
    from segue.cli.console import out as console
    from segue.cli.console import show_paths
    from segue.errors import InputError
    from segue.evaluation.rating_sheet import key_of, make_sheet, read_ratings
    from segue.files import make_folder, write_atomic

    if ratings is not None and key is not None:
        found = read_ratings(ratings.read_text(encoding="utf-8"), key_of(key))
        make_folder(out)
        text = json.dumps(found, indent=1) + "\n"
        write_atomic(out / "ratings.json", text)
        console().print(text, markup=False)
        show_paths([out / "ratings.json"])
        return
    if data is None or not row or ratings is not None or key is not None:
        raise InputError(
            "The sheet cannot be made, nor one be read.",
            expected="--data and --row, or --ratings and --key",
            found="an option without its other",
            where="options",
            fix="see segue rate --help",
        )
    from segue.evaluation.evaluation_data import read_evaluation_data
    from segue.evaluation.predictions import read_predictions
    from segue.evaluation.samples import all_samples
    from segue.evaluation.table_rows import parse_row

    asked = read_evaluation_data(path=data, split=split)
    specs = [parse_row(text) for text in row]
    answers = {s.name: read_predictions(s.metrics / "predictions.jsonl") for s in specs if s.metrics}
    pictures = {c.id: asked.image_paths(c) for c in asked.conversations}
    page, names = make_sheet(all_samples(asked.conversations), answers, pictures, count=count, seed=seed)
    make_folder(out)
    write_atomic(out / "sheet.html", page)
    write_atomic(out / "key.json", json.dumps(names, indent=1) + "\n")
    show_paths([out / "sheet.html", out / "key.json"])
