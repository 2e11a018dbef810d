"""PRIMA's figures 5, 6 and 8 of measured rows: scores by group, as SVG and as CSV."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

from segue.evaluation.table_rows import Row


@dataclass(frozen=True)
class Figure:
    """A figure of the paper.

    Attributes:
        title: Of the figure.
        stratum: Of metrics.json.
        score: Drawn upwards, in percent.
        axis: What the groups are.
    """

    title: str
    stratum: str
    score: str
    axis: str


FIGURES: dict[str, Figure] = {
    "figure5a": Figure(
        "Recall by number of objects (figure 5a)", "by_number_of_objects", "recall", "objects"
    ),
    "figure5b": Figure("Recall by number of masks (figure 5b)", "by_number_of_targets", "recall", "masks"),
    "figure6": Figure("mIoU by visibility (figure 6)", "by_visibility", "mean_iou", "share of the image"),
    "figure8": Figure("mIoU by frequency (figure 8)", "by_frequency", "mean_iou", "category"),
}
"""Source: PRIMA figures 5, 6 and 8; `segue.evaluation.strata` has the groups."""

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 560, 300, 46, 64, 34
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""Okabe and Ito's, which readers without red or green tell apart."""


def groups_of(figure: Figure, rows: Sequence[Row]) -> list[str]:
    """Groups that any row has, in the order of the first that has them (metrics.json sorts them)."""
    return list(dict.fromkeys(group for row in rows for group in row.strata.get(figure.stratum, {})))


def value_of(figure: Figure, row: Row, group: str) -> float | None:
    """The score of a row in a group; None where it has none."""
    return row.strata.get(figure.stratum, {}).get(group, {}).get(figure.score)


def to_csv(figure: Figure, rows: Sequence[Row]) -> str:
    """A line for each group, a column for each row."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([figure.stratum, *(row.name for row in rows)])
    for group in groups_of(figure, rows):
        values = [value_of(figure, row, group) for row in rows]
        writer.writerow([group, *("" if value is None else value for value in values)])
    return file.getvalue()


def to_svg(figure: Figure, rows: Sequence[Row]) -> str:
    """Bars side by side for each group; the scale ends at the next ten above the largest value."""
    groups = groups_of(figure, rows)
    values = [v for row in rows for group in groups if (v := value_of(figure, row, group)) is not None]
    most = max(10.0, -(-max(values, default=0.0) // 10) * 10)
    inner, tall = WIDTH - LEFT - 10, HEIGHT - BOTTOM - TOP
    step = inner / max(1, len(groups))
    wide = 0.8 * step / max(1, len(rows))
    parts = [svg_text(LEFT, 18, figure.title, size=14)]
    for tick in range(0, 5):
        y = TOP + tall * (1 - tick / 4)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - 10}" stroke="#ddd"/>')
        parts.append(svg_text(LEFT - 6, y + 4, f"{most * tick / 4:g}", anchor="end"))
    for place, group in enumerate(groups):
        left = LEFT + place * step + 0.1 * step
        parts.append(svg_text(left + 0.4 * step, HEIGHT - BOTTOM + 16, group, anchor="middle"))
        for number, row in enumerate(rows):
            value = value_of(figure, row, group)
            if value is None:
                continue
            high = tall * value / most
            colour = COLOURS[number % len(COLOURS)]
            title = html.escape(f"{row.label}, {group}: {value:.1f}")
            parts.append(
                f'<rect x="{left + number * wide:.1f}" y="{TOP + tall - high:.1f}" width="{wide:.1f}" '
                f'height="{high:.1f}" fill="{colour}"><title>{title}</title></rect>'
            )
    parts.append(svg_text(LEFT + inner / 2, HEIGHT - BOTTOM + 34, figure.axis, anchor="middle"))
    for number, row in enumerate(rows):
        x = LEFT + number * inner / max(1, len(rows))
        parts.append(
            f'<rect x="{x:.1f}" y="{HEIGHT - 20}" width="10" height="10" fill="{COLOURS[number % 8]}"/>'
        )
        parts.append(svg_text(x + 14, HEIGHT - 11, row.label))
    body = "".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" role="img">{body}</svg>\n'
    )


def svg_text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 11) -> str:
    """Text of a figure, escaped."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{html.escape(text)}</text>'
    )
