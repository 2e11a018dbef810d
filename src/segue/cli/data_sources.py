"""`segue data check`: read a source data set whole, and say what is kept and what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from segue.cli.options import make_way
from segue.files import write_atomic

_SWITCH = {"true": True, "false": False}


def check(
    name: Annotated[
        str,
        typer.Argument(help="ade20k_part, pascal_part, pascal_part116, paco_lvis, coco, labelme, scenes."),
    ],
    root: Annotated[Path, typer.Argument(help="The folder as it was downloaded.")],
    split: Annotated[
        list[str] | None, typer.Option(help="Again for another one; all splits of the source by default.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of the source, such as vocabulary=116 or all_objects=true."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the counts as JSON, too.")] = None,
) -> None:
    """Read a source data set whole: what is kept, what is dropped, and why."""
    import json

    from rich.progress import track
    from rich.text import Text

    from segue.cli.console import err, show_paths
    from segue.cli.console import out as stdout
    from segue.datasets.sources import open_source, source_class

    options = _options(option or [])
    if report is not None:
        make_way(report)
    reports = []
    for part in split or source_class(name).splits or ("train",):
        source = open_source(name, root, split=part, **options)
        # Reading is the check: the report fills while the images are read.
        for _ in track(
            source, description=f"{name} {part}", total=len(source), console=err(), transient=True
        ):
            pass
        for line in source.report.lines():
            stdout().print(Text(line))
        reports.append(source.report.to_json())
    if report is not None:
        write_atomic(report, json.dumps(reports, ensure_ascii=False, indent=1) + "\n")
        show_paths([report])


def _options(pairs: list[str]) -> dict[str, Any]:
    from segue.errors import InputError

    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise InputError(
                "An option of the source cannot be read.",
                expected="name=value",
                found=repr(pair),
                where="--set",
                fix="write it as vocabulary=116",
            )
        options[key] = _SWITCH.get(value.lower(), value)
    return options
