"""The papers' tables and figures: units, published rows, controls, and three forms that say the same."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from segue.cli import main
from segue.errors import InputError
from segue.evaluation import figures, tables
from segue.evaluation.published import M4SEG, M4SEG_NEWER, PRIST
from segue.evaluation.table_rows import Row, RowSpec, held_against, judged, parse_row, read_metrics, read_row

METRICS: dict[str, Any] = {
    "mean_iou": 0.4, "recall": 0.25, "ss": None, "siou": 0.42, "bleu_4": 8.51, "n_turns": 20, "n_masks": 60,
    "seconds_per_turn": 0.5, "phrase_f1": 0.7, "intervals": {"mean_iou": [0.35, 0.45]},
    "by_number_of_targets": {"1": {"recall": 0.5, "n_masks": 4}, "5-8": {"recall": 0.125, "n_masks": 9}},
    "by_visibility": {"<1%": {"mean_iou": 0.1}, "20+%": {"mean_iou": 0.6}},
    "judges": [{"PR": 3.5, "LC": 4.0, "CC": None, "TR": 2.0, "pairwise": {"win_rate": 0.42}}, {"PR": 1.0}],
}  # fmt: skip


def written(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(METRICS | changes))
    return folder


def test_a_row_is_in_the_papers_units(tmp_path: Path) -> None:
    row = read_row(RowSpec("PRIMA", written(tmp_path / "a"), compute="prima-7b"), {
        "prima-7b": {"tflops": 27.05, "visual_tokens_per_image": 58},
    })  # fmt: skip
    assert row.scores["mean_iou"] == pytest.approx(40.0)
    assert row.scores["bleu_4"] == 8.51, "text scores are in 0..100 already"
    assert row.scores["ss"] is None
    assert row.scores["samples_per_second"] == 2.0
    assert row.scores["tflops"] == 27.05
    assert "n_turns" not in row.scores
    assert row.strata["by_number_of_targets"]["5-8"]["recall"] == 12.5


@pytest.mark.parametrize(
    ("own", "other", "looks"),
    [(0.4, 0.1, True), (0.4, 0.37, False), (0.4, 0.41, False), (0.0, 0.0, False)],
)
def test_a_row_that_does_not_drop_does_not_look(own: float, other: float, looks: bool) -> None:
    bounds = {"mean_iou": [own - 0.05, own + 0.05]}
    assert held_against({"mean_iou": own, "intervals": bounds}, {"mean_iou": other})[0] is looks
    assert held_against({"mean_iou": None, "phrase_f1": own}, {"phrase_f1": other})[0] is looks


def test_without_a_common_score_nothing_is_claimed() -> None:
    assert held_against({"mean_iou": 0.4}, {"mean_iou": None})[0] is None


def test_marks_are_the_first_judges() -> None:
    assert judged(METRICS) == {"PR": 3.5, "LC": 4.0, "CC": None, "TR": 2.0, "win_rate": 42.0}
    assert judged({}) == {}


@pytest.mark.parametrize("name", tables.FORMS)
def test_three_forms_say_the_same(name: str) -> None:
    form = tables.FORMS[name]
    scores = {score: 10.0 + k for k, (score, _) in enumerate(form.columns)}
    mine = [
        Row("a_b & c", scores),
        Row("other", {s: v - 1 for s, v in scores.items()}, "zero-shot", looks=False),
    ]
    rows = tables.all_rows(form, mine)
    lines = list(csv.DictReader(io.StringIO(tables.to_csv(form, rows))))
    markdown = [line for line in tables.to_markdown(form, rows).splitlines() if line.startswith("| ")][1:]
    latex = [line for line in tables.to_latex(form, rows).splitlines() if line.endswith("\\\\")][1:]
    assert len(lines) == len(markdown) == len(latex) == len(rows) == 2 + len(form.published)
    for row, line, shown, typeset in zip(rows, lines, markdown, latex, strict=True):
        assert line["origin"] == row.origin
        assert ("published" in shown) == ("published" in typeset) == (not row.measured)
        for (score, _), cell in zip(form.columns, shown.strip("| ").split(" | ")[1:], strict=True):
            value = row.scores.get(score)
            assert cell.strip("*") == ("-" if value is None else f"{value:.2f}")
            assert line[score] == ("" if value is None else str(value))
    assert "a\\_b \\& c" in latex[0]
    assert "does not look" in markdown[1]
    assert "zero-shot" in markdown[1]
    assert markdown[0].count("**") == 2 * sum(score not in form.lower for score, _ in form.columns)


def test_published_rows_are_the_papers() -> None:
    prima = next(row for row in M4SEG if row.model == "PRIMA").scores
    glamm = next(row for row in M4SEG if row.model == "GLaMM").scores
    assert round(100 * (1 - prima["tflops"] / glamm["tflops"]), 1) == 25.3, "the abstract's saving"
    assert round(100 * (prima["samples_per_second"] / glamm["samples_per_second"] - 1), 1) == 71.8
    assert {k: round(prima[k] - glamm[k], 1) for k in ("mean_iou", "recall", "ss", "siou")} == {
        "mean_iou": 2.1, "recall": 2.1, "ss": 3.1, "siou": 3.4,
    }  # fmt: skip
    for row in PRIST:
        p, r = row.scores["pixel_precision"], row.scores["pixel_recall"]
        assert 2 * p * r / (p + r) == pytest.approx(row.scores["pixel_f1"], abs=0.03)
    assert len(M4SEG_NEWER) == 12
    assert sum(row.zero_shot for row in M4SEG_NEWER) == 7


def test_published_rows_do_not_compete_and_can_be_left_out() -> None:
    form = tables.FORMS["m4seg"]
    rows = tables.all_rows(form, [Row("a", {"mean_iou": 1.0}), Row("b", {"mean_iou": 2.0})])
    assert tables.best(form, rows)["mean_iou"] == 2.0
    costs = [Row("a", {"tflops": 5.0}), Row("b", {"tflops": 7.0})]
    assert tables.best(form, costs) == {"tflops": 5.0}, "less is better"
    assert tables.all_rows(form, rows[:2], with_published=False) == rows[:2]


def test_figures_show_every_value(tmp_path: Path) -> None:
    one = read_row(RowSpec("one", written(tmp_path / "a")), {})
    two = read_row(
        RowSpec("two <&>", written(tmp_path / "b", by_number_of_targets={"1": {"recall": 0.25}})), {}
    )
    figure = figures.FIGURES["figure5b"]
    lines = list(csv.reader(io.StringIO(figures.to_csv(figure, [one, two]))))
    assert lines == [["by_number_of_targets", "one", "two <&>"], ["1", "50.0", "25.0"], ["5-8", "12.5", ""]]
    drawn = ElementTree.fromstring(figures.to_svg(figure, [one, two]))
    bars = [bar for bar in drawn.iter() if bar.tag.endswith("rect") and len(bar)]
    heights = [float(bar.get("height", "")) for bar in bars]
    assert len(heights) == 3
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.1)
    assert figures.groups_of(figures.FIGURES["figure6"], [one]) == ["<1%", "20+%"]
    ElementTree.fromstring(figures.to_svg(figures.FIGURES["figure8"], [one, two]))


@pytest.mark.parametrize("text", ["PRIMA", "=runs", "a=runs,what", "a=,zero-shot", "a=runs,control="])
def test_rows_that_cannot_be_read(text: str) -> None:
    with pytest.raises(InputError, match="A row cannot be read"):
        parse_row(text)


def test_a_row_as_it_is_typed() -> None:
    assert parse_row("My model=runs/a,control=runs/b,compute=prima-7b,zero-shot") == RowSpec(
        "My model", Path("runs/a"), Path("runs/b"), "prima-7b", True
    )
    assert parse_row("LISA=,compute=lisa-7b").metrics is None
    assert parse_row("PRIMA, Q-Former only=runs/a,control=runs/b").name == "PRIMA, Q-Former only"


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_files_that_are_no_measurements(content: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(InputError, match=r"metrics\.json"):
        read_metrics(tmp_path)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = written(tmp_path / "own")
    control = written(tmp_path / "control", mean_iou=0.39)
    row = f"PRIMA={own},control={control}"
    assert main(["table", "m4seg", "--row", row, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "PRIMA (does not look)" in said
    assert "PRIMA (published)" in said
    assert (tmp_path / "out" / "m4seg.tex").is_file()
    assert main(["table", "figures", "--row", row, "--out", str(tmp_path / "figures")]) == 0
    assert len(list((tmp_path / "figures").iterdir())) == 8
    assert main(["table", "table9", "--out", str(tmp_path / "no")]) == 2
    assert main(["table", "figures", "--out", str(tmp_path / "no")]) == 2
    assert main(["table", "m4seg", "--row", f"a={own},compute=prima-7b", "--out", str(tmp_path / "no")]) == 2
    assert not (tmp_path / "no").exists()
    assert "segue bench" in capsys.readouterr().err
