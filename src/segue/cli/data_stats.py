"""`segue data stats` and `segue data preview`: look at a file of conversations before training on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from segue.datasets.statistics import Statistics
    from segue.records.jsonl import RecordReader

_MOST_SHOWN = 3
_ONLY_WHERE_THERE = ("unique_other_regions", "pointing_questions", "pointing_at_parts", "pointing_seen_again")
"""Rows that are left out where all of them are 0."""


def stats(
    path: Annotated[Path, typer.Argument(help="A gconv/1 file, or the folder of a build.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for statistics.json and statistics.png.")
    ] = None,
    top: Annotated[int, typer.Option(help="How many of the most frequent names to show.", min=0)] = 10,
) -> None:
    """Count objects, parts and targets of a gconv/1 file, and what a build's filters rejected."""
    from rich.progress import track

    from segue.cli.console import err, show_paths
    from segue.cli.console import out as stdout
    from segue.datasets.statistics import Statistics, count_rejected
    from segue.files import make_folder
    from segue.records import read_jsonl

    if out is not None:
        make_folder(out)
    statistics = Statistics()
    for file in _files(path):
        reader = read_jsonl(file, on_error="collect")
        for conversation in track(reader, description=file.name, console=err(), transient=True):
            statistics.add(conversation)
        _complain(reader)
    _need_answers(statistics, path)
    if path.is_dir():
        statistics.rejected = count_rejected(path)
    stdout().print(_table(statistics))
    if top:
        stdout().print(_names(statistics, top))
    if statistics.rejected:
        stdout().print(_rejected(statistics))
    if out is not None:
        show_paths(_written(statistics, out))


def preview(
    path: Annotated[Path, typer.Argument(help="A gconv/1 file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for preview.html.")],
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images; that of the file by default.")
    ] = None,
    count: Annotated[int, typer.Option(help="How many conversations, drawn at random.", min=1)] = 24,
    seed: Annotated[int, typer.Option(help="Of the draw.", min=0)] = 0,
    store: Annotated[
        Path | None,
        typer.Option(help="Folder of the build that holds masks by reference; that of the file by default."),
    ] = None,
) -> None:
    """Write an HTML page with images, coloured masks and text, for people to check."""
    from rich.text import Text

    from segue.cli.console import err, show_paths
    from segue.datasets.preview import write_preview
    from segue.files import make_folder

    make_folder(out)
    done = write_preview(path, out / "preview.html", images=images, count=count, seed=seed, store=store)
    for problem in done.problems[:_MOST_SHOWN]:
        err().print(Text(f"note: {problem}", style="yellow"))
    if len(done.problems) > _MOST_SHOWN:
        err().print(Text(f"note: and {len(done.problems) - _MOST_SHOWN} more", style="yellow"))
    err().print(Text(f"{done.shown} of {done.total} conversations"))
    show_paths([out / "preview.html"])


def _files(path: Path) -> list[Path]:
    """The file itself, or the conversation files of a build: at its top, not what its stages keep below."""
    from segue.errors import InputError

    if not path.is_dir():
        return [path]
    found = [file for file in sorted(path.glob("*.jsonl")) if not file.name.startswith(("rejected", "."))]
    if found:
        return found
    raise InputError(
        "There is no file of conversations in this folder.",
        expected="at least one .jsonl file",
        found=", ".join(sorted(entry.name for entry in path.iterdir())[:8]) or "an empty folder",
        where=str(path),
        fix="name the .jsonl file itself",
    )


def _complain(reader: RecordReader) -> None:
    from rich.text import Text

    from segue.cli.console import err

    for error in reader.errors[:_MOST_SHOWN]:
        err().print(Text(f"note: left out {error.where}: {error.summary}", style="yellow"))
    if len(reader.errors) > _MOST_SHOWN:
        err().print(Text(f"note: and {len(reader.errors) - _MOST_SHOWN} more lines", style="yellow"))


def _need_answers(statistics: Statistics, path: Path) -> None:
    from segue.errors import InputError

    if not statistics.splits:
        raise InputError(
            "There is nothing to count.",
            expected="at least one gconv/1 record",
            found="none that can be read",
            where=str(path),
            fix="look at the notes above, or check the path",
        )


def _table(statistics: Statistics) -> Table:
    from rich.table import Table

    rows = {
        "conversations": "conversations",
        "QA pairs (answers)": "answers",
        "  with targets": "answers_with_targets",
        "  covering all images": "answers_covering_all_images",
        "unique images": "unique_images",
        "unique objects": "unique_objects",
        "unique parts": "unique_parts",
        "other regions": "unique_other_regions",
        "object targets per answer": "mean_object_targets",
        "part targets per answer": "mean_part_targets",
        "all targets per answer": "mean_targets",
        "mentions per answer": "mean_mentions",
        "most targets of an answer": "max_targets",
        "questions that point": "pointing_questions",
        "  at parts": "pointing_at_parts",
        "  into the photograph again": "pointing_seen_again",
    }
    found = statistics.to_json()["splits"]
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for split in found:
        table.add_column(split, justify="right")
    for label, key in rows.items():
        values = [counts.get(key, 0) for counts in found.values()]
        if key not in _ONLY_WHERE_THERE or any(values):
            table.add_row(label, *(f"{v:.2f}" if isinstance(v, float) else f"{v:,}" for v in values))
    return table


def _names(statistics: Statistics, top: int) -> Table:
    from collections import Counter

    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    columns = {"most frequent objects": "objects", "most frequent parts": "parts"}
    lists = []
    for title, name in columns.items():
        table.add_column(title)
        table.add_column("", justify="right")
        total = sum((getattr(counts, name) for counts in statistics.splits.values()), Counter[str]())
        # By count, then by name: equal counts come out in the same order every time.
        lists.append(sorted(total.items(), key=lambda item: (-item[1], item[0]))[:top])
    for place in range(max(map(len, lists))):
        cells = [found[place] if place < len(found) else ("", "") for found in lists]
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else cell for pair in cells for cell in pair))
    return table


def _rejected(statistics: Statistics) -> Table:
    from rich.table import Table

    kept = sum(counts.answers for counts in statistics.splits.values())
    total = kept + statistics.rejected.total()
    table = Table(box=None, pad_edge=False)
    table.add_column("rejected by the filters")
    table.add_column("pairs", justify="right")
    table.add_column("share", justify="right")
    for reason, count in sorted(statistics.rejected.items()):
        table.add_row(reason, f"{count:,}", f"{100 * count / total:.2f} %")
    table.add_row(
        "all", f"{statistics.rejected.total():,}", f"{100 * statistics.rejected.total() / total:.2f} %"
    )
    return table


def _written(statistics: Statistics, folder: Path) -> list[Path]:
    import json

    from segue.datasets.statistics_plots import draw_statistics
    from segue.files import write_atomic

    file = folder / "statistics.json"
    write_atomic(file, json.dumps(statistics.to_json(), ensure_ascii=False, indent=1) + "\n")
    return [file, draw_statistics(statistics, folder / "statistics.png")]
