"""`report.html`: the numbers of an evaluation, their strata as bars, and answers to look at."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segue import masks
from segue.errors import SegueError
from segue.evaluation.protocols import Item, Protocol
from segue.evaluation.scores import answer_score
from segue.evaluation.strata import ANSWER_STRATA, TARGET_STRATA
from segue.files import write_atomic
from segue.images import load_image
from segue.inference.report import data_url
from segue.inference.visualize import Layer, colour, draw_overlay
from segue.masks import resize_mask
from segue.metrics.matching import GroundedMask

SHOWN = 4
"""Answers of each sort: best, worst, at random."""
SIDE = 320
"""Longest side of a picture in pixels."""
_BARS = ("mean_iou", "recall", "phrase_f1", "delta_iou_textual")
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:1180px;margin:2rem auto;padding:0 1rem;color:#1c1e21}
h1{font-size:1.5rem}
h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid #d8dbe0;padding-bottom:.2rem}
table{border-collapse:collapse;margin:.6rem 0}
td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}tr.head td{font-weight:600}
.muted{color:#69707a}.charts{display:flex;flex-wrap:wrap;gap:1.2rem 2rem}figure{margin:0}
figcaption{font-weight:600;font-size:.9rem;margin-bottom:.2rem}
.answer{border:1px solid #d8dbe0;border-radius:8px;padding:.8rem 1rem;margin:.9rem 0}
.answer p{margin:.25rem 0}.row img{border-radius:4px}
.row{display:flex;flex-wrap:wrap;gap:.6rem;margin:.4rem 0}
.row figure{max-width:320px}.row figcaption{font-weight:400;font-size:.8rem;color:#69707a}
"""


def write_report(
    path: Path,
    metrics: Mapping[str, Any],
    items: Sequence[Item],
    protocol: Protocol,
    pictures: Mapping[str, Sequence[Path]],
) -> Path:
    """Write the page; it holds everything it shows and asks for nothing.

    Args:
        path: The file.
        metrics: Content of metrics.json.
        items: Every sample with its answer.
        protocol: What was computed.
        pictures: By conversation, the images that were shown.
    """
    header = metrics["header"]
    title = f"{header.get('model', 'predictions')}, {header['protocol']}"
    parts = [
        f"<h1>{_text(title)}</h1>",
        _summary(metrics),
        "<h2>Scores</h2>",
        _scores(metrics, protocol),
        _failures(metrics["failures"]),
        "<h2>Strata</h2>",
        f'<div class="charts">{_charts(metrics)}</div>',
        *_answers(items, protocol, pictures),
        "<h2>Header</h2>",
        _table([(name, value) for name, value in header.items()]),
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    return write_atomic(path, page)


def _text(value: object) -> str:
    return html.escape(str(value))


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "-" if value is None else _text(value)


def _summary(metrics: Mapping[str, Any]) -> str:
    seconds = metrics["seconds_per_turn"]
    pace = "" if seconds is None else f", {seconds:.2f} s an answer"
    shuffled = (
        " <b>Control: images of other conversations were shown.</b>"
        if metrics["header"].get("shuffle_images")
        else ""
    )
    return (
        f'<p class="muted">{metrics["n"]} conversations, {metrics["n_turns"]} answers, '
        f"{metrics['n_masks']} masks{pace}.{shuffled}</p>"
    )


def _scores(metrics: Mapping[str, Any], protocol: Protocol) -> str:
    intervals, forced = metrics.get("intervals", {}), metrics.get("teacher_forced", {})
    missing = metrics["not_available"]
    names = [name for name, value in metrics.items() if isinstance(value, float) or name in missing]
    first = [name for name in protocol.headline if name in names]
    rows = [
        "<tr><th>score</th><th>value</th><th>95 %</th>"
        + ("<th>teacher-forced</th>" if forced else "")
        + "</tr>"
    ]
    for name in [*first, *(n for n in names if n not in first and n != "seconds_per_turn")]:
        bounds = intervals.get(name)
        spread = f"{bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else _text(missing.get(name, ""))
        cells = f'<td>{_text(name)}</td><td class="n">{_number(metrics[name])}</td>'
        cells += f'<td class="muted">{spread}</td>'
        cells += f'<td class="n">{_number(forced.get(name))}</td>' if forced else ""
        rows.append(f'<tr class="{"head" if name in first else ""}">{cells}</tr>')
    return f"<table>{''.join(rows)}</table>"


def _failures(failures: Mapping[str, Any]) -> str:
    if not failures["count"]:
        return ""
    rows = [(reason, count) for reason, count in failures["reasons"].items()]
    return f"<h2>Failures: {failures['count']}, counted as zero</h2>{_table(rows)}"


def _table(rows: Sequence[tuple[object, object]]) -> str:
    return (
        "<table>" + "".join(f"<tr><td>{_text(a)}</td><td>{_text(b)}</td></tr>" for a, b in rows) + "</table>"
    )


def _charts(metrics: Mapping[str, Any]) -> str:
    charts = []
    for stratum in (*ANSWER_STRATA, *TARGET_STRATA):
        groups = metrics.get(stratum, {})
        if len(groups) < 2:
            continue
        for name in (bar for bar in _BARS if any(bar in numbers for numbers in groups.values())):
            title = f"{name} {stratum.replace('_', ' ')}"
            charts.append(f"<figure><figcaption>{_text(title)}</figcaption>{bars(groups, name)}</figure>")
    return "".join(charts) or '<p class="muted">One group in every stratum.</p>'


def bars(groups: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """One score of several groups as an SVG of bars from 0 to 1, with what number of answers they rest on."""
    step, left, width = 22, 118, 150
    rows = []
    for k, (group, numbers) in enumerate(groups.items()):
        value = numbers.get(name)
        y = k * step
        count = numbers.get("n_turns", numbers.get("n_masks", ""))
        length = 0 if value is None else max(0.0, min(1.0, value)) * width
        rows.append(
            f'<text x="{left - 6}" y="{y + 15}" text-anchor="end">{_text(group)}</text>'
            f'<rect x="{left}" y="{y + 4}" width="{width}" height="14" fill="#eceef1"/>'
            f'<rect x="{left}" y="{y + 4}" width="{length:.1f}" height="14" fill="#3d6fb4"/>'
            f'<text x="{left + width + 6}" y="{y + 15}">{_number(value)} '
            f'<tspan fill="#69707a">n={count}</tspan></text>'
        )
    return f'<svg width="390" height="{len(groups) * step + 4}" font-size="12">{"".join(rows)}</svg>'


def _answers(items: Sequence[Item], protocol: Protocol, pictures: Mapping[str, Sequence[Path]]) -> list[str]:
    """Sections of answers: the best, the worst, and some that chance chose."""
    scored = [(answer_score(item, protocol), k) for k, item in enumerate(items)]
    ranked = [k for value, k in sorted((v, k) for v, k in scored if v is not None)]
    worst, best = ranked[:SHOWN], ranked[::-1][: min(SHOWN, max(0, len(ranked) - SHOWN))]
    rest = [k for k in range(len(items)) if k not in {*worst, *best}]
    chosen = np.random.default_rng(0).permutation(len(rest))[:SHOWN]
    parts = []
    for title, places in (
        ("Best answers", best),
        ("Worst answers", worst),
        ("Answers at random", [rest[int(i)] for i in chosen]),
    ):
        if places:
            parts.append(f"<h2>{title}</h2>")
            parts += [
                _answer(items[k], scored[k][0], pictures.get(items[k].sample.conversation_id, ()))
                for k in places
            ]
    return parts


def _answer(item: Item, value: float | None, paths: Sequence[Path]) -> str:
    sample = item.sample
    said = item.failure or item.answer.text or "(no text)"
    lines = (
        f'<p class="muted">{_text(sample.conversation_id)}, answer {sample.turn}, '
        f"mean IoU {_number(value)}</p>"
        f"<p><b>Question</b> {_text(sample.question)}</p>"
        f"<p><b>{'Failure' if item.failure else 'Answer'}</b> {_text(said)}</p>"
        f"<p><b>Reference</b> {_text(sample.reference)}</p>"
    )
    rows = []
    for label, marks in (("answer", item.drawn), ("reference", sample.targets)):
        figures = "".join(_picture(path, k, label, marks) for k, path in enumerate(paths))
        rows.append(f'<div class="row">{figures}</div>')
    return f'<div class="answer">{lines}{"".join(rows)}</div>'


def _picture(path: Path, index: int, label: str, marks: Sequence[GroundedMask]) -> str:
    caption = f"image {index + 1}, {label}"
    try:
        picture = load_image(path)
    except SegueError as error:
        return f"<figure><figcaption>{_text(caption)}: {_text(error.summary)}</figcaption></figure>"
    scale = min(1.0, SIDE / max(picture.size))
    hw = (max(1, round(picture.height * scale)), max(1, round(picture.width * scale)))
    small = picture.resize((hw[1], hw[0]), Image.Resampling.BILINEAR)
    layers = [
        Layer(resize_mask(masks.decode(mark.rle), hw), mark.phrase, colour(k))
        for k, mark in enumerate(marks)
        if mark.image_index == index and mark.rle is not None
    ]
    url = data_url(draw_overlay(small, layers), "JPEG")
    return (
        f'<figure><img src="{url}" width="{hw[1]}" height="{hw[0]}" alt="{_text(caption)}">'
        f"<figcaption>{_text(caption)}</figcaption></figure>"
    )
