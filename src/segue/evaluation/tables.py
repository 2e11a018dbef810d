"""The papers' tables as Markdown, LaTeX and CSV: measured rows, and the printed ones marked as published."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from segue.errors import InputError
from segue.evaluation import published
from segue.evaluation.published import PublishedRow
from segue.evaluation.table_rows import Row

Columns = tuple[tuple[str, str], ...]
"""Score and heading."""


@dataclass(frozen=True)
class TableForm:
    """A table of a paper.

    Attributes:
        title: Of the table.
        columns: Score to heading, in the paper's order.
        published: The rows that it prints.
        notes: Said below it.
        lower: Scores of which less is better.
    """

    title: str
    columns: Columns
    published: tuple[PublishedRow, ...]
    notes: tuple[str, ...] = ()
    lower: tuple[str, ...] = ("tflops",)


_M4SEG: Columns = (
    ("mean_iou", "mIoU"),
    ("recall", "Recall"),
    ("ss", "SS"),
    ("siou", "S-IoU"),
    ("tflops", "TFLOPs"),
    ("samples_per_second", "samples/s"),
)

FORMS: dict[str, TableForm] = {
    "m4seg": TableForm("M4SEG (PRIMA, table 3)", _M4SEG, published.M4SEG, (published.COMPUTE_NOTE,)),
    "ablation": TableForm(
        "Q-Former and DINOv2 (PRIMA, table 4)",
        _M4SEG,
        published.ABLATION,
        (
            "Of table 4 only what the paper's text repeats is at hand.",
            published.COMPUTE_NOTE,
        ),
    ),
    "square": TableForm(
        "SQuARE and what replaces it (PRIMA's newer version)",
        (
            ("mean_iou", "mIoU"),
            ("recall", "Recall"),
            ("ss", "I-SS"),
            ("siou", "I-SIoU"),
            ("ss_text", "SS"),
            ("siou_text", "SIoU"),
            ("meteor", "METEOR"),
        ),
        published.M4SEG_NEWER,
        (
            "Published on another release of M4SEG (744K pairs) than table 3; it defines neither I-SS nor "
            "I-SIoU: ours are the similarities of assigned phrases, 0 where nothing is assigned.",
        ),
    ),
    "prist": TableForm(
        "PRIST (MIRAS, main table)",
        (
            ("mean_iou", "CIoU"),
            ("pixel_precision", "Prec."),
            ("pixel_recall", "Recall"),
            ("pixel_f1", "F1"),
            ("bleu_4", "BLEU-4"),
            ("rouge_l", "ROUGE-L"),
            ("meteor", "METEOR"),
        ),
        published.PRIST,
        ("CIoU is what MIRAS's code computes: the mean over dialogues, our mean_iou, not a cumulative IoU.",),
    ),
    "reasoning": TableForm(
        "Reasoning on PRIST (MIRAS)",
        (
            ("PR", "PR"),
            ("LC", "LC"),
            ("CC", "CC"),
            ("TR", "TR"),
            ("win_rate", "win rate"),
            ("dist_1", "Dist-1"),
            ("dist_2", "Dist-2"),
        ),
        published.PRIST_REASONING,
        ("Marks from 1 to 5. The paper's rubrics are not public; ours are in src/segue/prompts.",),
    ),
}
"""The tables that `segue table` knows."""


def form_named(name: str) -> TableForm:
    """A table by name.

    Raises:
        InputError: There is none.
    """
    if name not in FORMS:
        raise InputError(
            "There is no such table.",
            expected=" or ".join(FORMS),
            found=repr(name),
            where="TABLE",
            fix="choose one of them",
        )
    return FORMS[name]


def all_rows(form: TableForm, measured: Sequence[Row], *, with_published: bool = True) -> list[Row]:
    """Measured rows, then the printed ones."""
    if not with_published:
        return list(measured)
    return [*measured, *(_printed(row) for row in form.published)]


def _printed(row: PublishedRow) -> Row:
    kind = "zero-shot" if row.zero_shot else "fine-tuned"
    return Row(row.model, dict(row.scores), kind, "published")


def cell(value: float | None) -> str:
    """A number with two decimals; a dash where there is none, which a zero is not."""
    return "-" if value is None else f"{value:.2f}"


def best(form: TableForm, rows: Sequence[Row]) -> dict[str, float]:
    """The best measured value of each column; published ones do not compete, their data are others."""
    found = {}
    for score, _ in form.columns:
        values = [v for row in rows if row.measured and (v := row.scores.get(score)) is not None]
        if len(values) > 1:
            found[score] = min(values) if score in form.lower else max(values)
    return found


def to_markdown(form: TableForm, rows: Sequence[Row]) -> str:
    """The table with its title and notes; the best measured value of a column is bold."""
    top = best(form, rows)

    def text(row: Row, score: str) -> str:
        value = row.scores.get(score)
        shown = cell(value)
        return f"**{shown}**" if row.measured and value is not None and value == top.get(score) else shown

    lines = [f"### {form.title}", "", "| model | " + " | ".join(h for _, h in form.columns) + " |"]
    lines.append("|---|" + "---:|" * len(form.columns))
    for row in rows:
        name = row.label.replace("|", "\\|")
        lines.append(f"| {name} | " + " | ".join(text(row, score) for score, _ in form.columns) + " |")
    notes = [*form.notes, *(row.note for row in rows if row.note)]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]).rstrip() + "\n"


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def latex(text: str) -> str:
    """Text with LaTeX's own characters escaped."""
    return "".join(_LATEX.get(c, c) for c in text)


def to_latex(form: TableForm, rows: Sequence[Row]) -> str:
    """A `tabular` with rules of booktabs, published rows below a line of their own."""
    top = best(form, rows)
    lines = [
        f"% {form.title}",
        "\\begin{tabular}{l" + "r" * len(form.columns) + "}",
        "\\toprule",
        "Model & " + " & ".join(latex(heading) for _, heading in form.columns) + r" \\",
        "\\midrule",
    ]
    before: Row | None = None
    for row in rows:
        if before is not None and before.measured and not row.measured:
            lines.append("\\midrule")
        cells = []
        for score, _ in form.columns:
            value = row.scores.get(score)
            bold = row.measured and value is not None and value == top.get(score)
            cells.append(f"\\textbf{{{cell(value)}}}" if bold else cell(value).replace("-", "--", 1))
        lines.append(f"{latex(row.label)} & " + " & ".join(cells) + r" \\")
        before = row
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def to_csv(form: TableForm, rows: Sequence[Row]) -> str:
    """Every row with its origin; an empty cell where there is no number."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["model", "kind", "origin", "looks", *(score for score, _ in form.columns)])
    for row in rows:
        looks = "" if row.looks is None else str(row.looks).lower()
        values = [row.scores.get(score) for score, _ in form.columns]
        writer.writerow([row.name, row.kind, row.origin, looks, *("" if v is None else v for v in values)])
    return file.getvalue()
