"""M4SEG's Figure 4 for any file: how often each object and part is a target, and targets per answer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segue.datasets.statistics import SplitStatistics, Statistics
from segue.errors import InputError
from segue.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#2b63ff", "#ef473a", "#00b296", "#be3cc8", "#ff8c1e", "#6e7887")
_NAMED = 3
_LONGEST_TITLE = 70
_LONG_TAIL = 20
"""The highest over the lowest frequency from which the axis is logarithmic."""


def draw_statistics(statistics: Statistics, path: Path) -> Path:
    """Draw three panels: frequencies of objects and of parts, from the highest down, and targets per answer.

    Args:
        statistics: With at least one answer.
        path: The PNG; replaced at the very end.

    Raises:
        InputError: The package matplotlib is missing.

    Source: PRIMA Figure 4.
    """
    figure, panels = _figure()
    splits = statistics.splits
    frequencies = (("objects", "i-th object"), ("parts", "i-th part"))
    for panel, (name, label) in zip(panels[:2], frequencies, strict=True):
        for colour, (split, counts) in zip(_COLOURS, splits.items()):
            _long_tail(panel, getattr(counts, name), split, colour, named=colour == _COLOURS[0])
        _finish(panel, label, "times it is a target")
    for number, (colour, (split, counts)) in enumerate(zip(_COLOURS, splits.items())):
        _targets_per_answer(panels[2], counts, split, colour, number, min(len(splits), len(_COLOURS)))
    _finish(panels[2], "masks in an answer", "% of the answers")
    with atomic_path(path) as unfinished:
        # Without matplotlib's version in it, the same data give the same bytes where the fonts are the same.
        figure.savefig(unfinished, dpi=150, metadata={"Software": None})
    return path


def _figure() -> tuple[Any, Any]:
    try:
        # Figures are made directly, not through pyplot, which would look for a window system.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError(
            "The plots cannot be drawn.",
            expected="the package matplotlib",
            found="no such package",
            where="segue data stats",
            fix="pip install -c constraints.txt 'segue[data]', or leave out --out",
        ) from None
    figure = Figure(figsize=(12.5, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, 3)


def _long_tail(panel: Axes, counts: Counter[str], split: str, colour: str, *, named: bool) -> None:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if not ranked:
        return
    heights = [count for _, count in ranked]
    places = range(1, len(heights) + 1)
    panel.fill_between(places, heights, step="mid", color=colour, alpha=0.15, linewidth=0)
    panel.plot(
        places, heights, drawstyle="steps-mid", color=colour, linewidth=1.4, label=f"{split} ({len(ranked)})"
    )
    if max(heights) >= _LONG_TAIL * min(heights):
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter("{x:,.0f}")
    if named:
        first = ", ".join(name for name, _ in ranked[:_NAMED])
        short = first if len(first) <= _LONGEST_TITLE else first[: _LONGEST_TITLE - 1] + "\u2026"
        panel.set_title(f"most often: {short}", fontsize=7, color="#555", loc="left")


def _targets_per_answer(
    panel: Axes, counts: SplitStatistics, split: str, colour: str, number: int, of: int
) -> None:
    # Bars of all splits share 0.8 of a unit around their number; the rest is the gap to the next number.
    width = 0.8 / of
    places = sorted(counts.targets)
    shares = [100 * counts.targets[place] / counts.answers for place in places]
    offset = (number - (of - 1) / 2) * width
    panel.bar([place + offset for place in places], shares, width=width, color=colour, label=split)
    panel.locator_params(axis="x", integer=True)


def _finish(panel: Axes, across: str, up: str) -> None:
    panel.set_xlabel(across)
    panel.set_ylabel(up)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", color="#e2e2de", linewidth=0.6)
    panel.set_axisbelow(True)
    # A logarithmic axis has no 0.
    panel.set_ylim(bottom=None if panel.get_yscale() == "log" else 0)
    if panel.get_legend_handles_labels()[0]:
        panel.legend(frameon=False, fontsize=8)
