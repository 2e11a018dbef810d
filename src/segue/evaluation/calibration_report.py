"""The page of a calibration: reliability before and after, and the numbers."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from segue.evaluation.calibration import Measured
from segue.evaluation.figures import COLOURS, svg_text
from segue.metrics.calibration import Bin, reliability

SIDE, LEFT, TOP = 320, 50, 30
_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:860px;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{padding:.2rem 1rem .2rem 0;text-align:left}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}"
)


def reliability_svg(measured: Measured) -> str:
    """Frequency over score, bin by bin; on the diagonal a score is a probability. Dots grow with counts."""
    parts = [svg_text(LEFT, 18, "Share that is there, by presence score", size=14)]
    for tick in range(0, 11, 2):
        at = tick / 10
        parts.append(f'<path d="M{LEFT} {_y(at):.1f}h{SIDE}M{_x(at):.1f} {TOP}v{SIDE}" stroke="#ddd"/>')
        parts.append(svg_text(LEFT - 6, _y(at) + 4, f"{at:g}", anchor="end"))
        parts.append(svg_text(_x(at), TOP + SIDE + 16, f"{at:g}", anchor="middle"))
    parts.append(f'<path d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}" stroke="#555" stroke-dasharray="4 4"/>')
    for number, (name, scores) in enumerate(
        (("uncalibrated", measured.raw), ("calibrated", measured.calibrated))
    ):
        parts.append(_curve(reliability(scores, measured.there), COLOURS[1 - number], name))
        parts.append(svg_text(LEFT + 26 + 130 * number, TOP + SIDE + 56, name))
        dot = f'cx="{LEFT + 16 + 130 * number}" cy="{TOP + SIDE + 52}" r="5" fill="{COLOURS[1 - number]}"'
        parts.append(f"<circle {dot}/>")
    parts.append(svg_text(LEFT + SIDE / 2, TOP + SIDE + 34, "score", anchor="middle"))
    size = f'width="{LEFT + SIDE + 20}" height="{TOP + SIDE + 66}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" role="img">'
        f"{''.join(parts)}</svg>\n"
    )


def _x(value: float) -> float:
    return LEFT + SIDE * value


def _y(value: float) -> float:
    return TOP + SIDE * (1 - value)


def _curve(bins: list[Bin], colour: str, name: str) -> str:
    filled = [b for b in bins if b.count]
    total = sum(b.count for b in filled)
    line = " ".join(f"{_x(b.mean):.1f},{_y(b.frequency):.1f}" for b in filled)
    dots = "".join(
        f'<circle cx="{_x(b.mean):.1f}" cy="{_y(b.frequency):.1f}" '
        f'r="{3 + 12 * (b.count / total) ** 0.5:.1f}" fill="{colour}" fill-opacity="0.6">'
        f"<title>{name}: {b.count} of score {b.mean:.2f}, {b.frequency:.2f} of them there</title></circle>"
        for b in filled
    )
    return f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}'


def number_rows(about: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Score, before and after, as they are printed."""
    before, after = (about["measured"][name] for name in ("uncalibrated", "calibrated"))
    labels = {"ece": "expected calibration error", "brier": "Brier score", "auc": "AUC"}
    return [(label, _written(before[key]), _written(after[key])) for key, label in labels.items()]


def _written(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def calibration_page(measured: Measured, about: Mapping[str, Any]) -> str:
    """The report as one self-contained page."""
    rows = "".join(
        f'<tr><td>{label}</td><td class="n">{before}</td><td class="n">{after}</td></tr>'
        for label, before, after in number_rows(about)
    )
    facts = "".join(
        f"<tr><td>{html.escape(str(key))}</td><td>{html.escape(str(value))}</td></tr>"
        for key, value in about.items()
        if key != "measured"
    )
    counts = "".join(
        f'<tr><td>{b.low:.1f} to {b.high:.1f}</td><td class="n">{b.count}</td>'
        f'<td class="n">{b.mean:.3f}</td><td class="n">{b.frequency:.3f}</td></tr>'
        for b in reliability(measured.calibrated, measured.there)
        if b.count
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Calibration</title>'
        f"<style>{_STYLE}</style><h1>Presence score of {html.escape(str(about['model']))}</h1>"
        f"{reliability_svg(measured)}"
        f"<p>Calibrated scores are by calibrations that have not seen the record.</p>"
        f"<table><tr><th></th><th>uncalibrated</th><th>calibrated</th></tr>{rows}</table>"
        f"<h2>Calibrated scores</h2><table><tr><th>score</th><th>groundings</th><th>mean score</th>"
        f"<th>of them there</th></tr>{counts}</table><h2>Fitted on</h2><table>{facts}</table></html>\n"
    )
