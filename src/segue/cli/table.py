"""`segue table`: the papers' tables and figures from measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def table(
    name: Annotated[
        str,
        typer.Argument(help="m4seg, ablation, square, prist, reasoning, or figures.", metavar="TABLE"),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the table's files.")],
    row: Annotated[
        list[str] | None,
        typer.Option(
            help="A measured row; may be repeated: folders of `segue eval` and of its control.",
            metavar="NAME=FOLDER[,control=FOLDER][,compute=PRESET][,zero-shot]",
        ),
    ] = None,
    bench: Annotated[Path | None, typer.Option(help="File of `segue bench`, for compute=.")] = None,
    published: Annotated[bool, typer.Option(help="Print the papers' rows too, marked.")] = True,
) -> None:
    """Render a table of PRIMA or MIRAS as Markdown, LaTeX and CSV, or PRIMA's figures as SVG and CSV.

    A row that scores no less when other pictures are shown (control=) is marked "does not look".
    """
    from segue.cli.console import out as console
    from segue.cli.console import show_paths
    from segue.errors import InputError
    from segue.evaluation import figures, tables
    from segue.evaluation.table_rows import parse_row, read_rows
    from segue.files import make_folder, write_atomic

    if name != "figures":
        tables.form_named(name)
    rows = read_rows([parse_row(text) for text in row or []], bench)
    if name == "figures" and not rows:
        raise InputError(
            "There is nothing to draw.",
            expected="one --row or more",
            found="none",
            where="options",
            fix="name the folders of evaluations with --row NAME=FOLDER",
        )
    make_folder(out)
    files: dict[str, str] = {}
    if name == "figures":
        for key, figure in figures.FIGURES.items():
            files |= {f"{key}.svg": figures.to_svg(figure, rows), f"{key}.csv": figures.to_csv(figure, rows)}
    else:
        form = tables.form_named(name)
        shown = tables.all_rows(form, rows, with_published=published)
        files = {
            f"{name}.md": tables.to_markdown(form, shown),
            f"{name}.tex": tables.to_latex(form, shown),
            f"{name}.csv": tables.to_csv(form, shown),
        }
        console().print(files[f"{name}.md"], markup=False)
    for file, content in files.items():
        write_atomic(out / file, content)
    show_paths([out / file for file in files])
