"""Blind rating sheets: nobody's name on the page, every row equally often, CSVs read or refused."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segue import masks
from segue.cli import main
from segue.errors import InputError
from segue.evaluation.predictions import Answer
from segue.evaluation.rating_sheet import MARKS, make_sheet, read_ratings
from segue.evaluation.samples import Sample
from segue.metrics.matching import GroundedMask

SAMPLES = [Sample(f"c{k}", 1, f"What is {k} & more?", "It.", 1, (), (), ()) for k in range(6)]


def answers(name: str) -> dict[Any, Answer]:
    drawn = GroundedMask(0, "mug", masks.encode(np.eye(8, dtype=bool)))
    return {sample.key: Answer(f"the answer {ord(name[-1])}", (drawn,)) for sample in SAMPLES[:5]}


ROWS = {"Model-A": answers("Model-A"), "Model-B": answers("Model-B")}


def test_the_page_hides_the_rows_and_shows_each_equally_often(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 30, 30)).save(tmp_path / "a.png")
    pictures = {sample.conversation_id: [tmp_path / "a.png"] for sample in SAMPLES}
    page, key = make_sheet(SAMPLES, ROWS, pictures, count=6)
    assert "Model-" not in page
    assert Counter(entry["row"] for entry in key["items"].values()) == {"Model-A": 6, "Model-B": 6}
    assert page.count("<section") == page.count("data:image/jpeg") == 12
    assert page.count("(no answer)") == 2, "of what is missing in both rows"
    assert "&amp; more" in page
    firsts = {key["items"][str(k)]["row"] for k in range(1, 12, 2)}
    assert len(firsts) == 2, "which row comes first is chance"
    assert make_sheet(SAMPLES, ROWS, pictures, count=6)[0] == page
    assert not re.search(r'(src|href)="(?!data:)', page), "it asks nobody for anything"


def test_ratings_are_averaged_by_row() -> None:
    _, key = make_sheet(SAMPLES, ROWS, {}, count=2)
    lines = ["item,PR,LC,CC,TR"]
    for item, entry in key["items"].items():
        lines.append(f"{item},5,4,,1" if entry["row"] == "Model-A" else f"{item},2,,,")
    found = read_ratings("\n".join(lines), key)
    assert found["Model-A"] == {"PR": 5.0, "LC": 4.0, "CC": None, "TR": 1.0, "n": 2}
    assert found["Model-B"] == {"PR": 2.0, "LC": None, "CC": None, "TR": None, "n": 2}


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2", "item,PR,LC,CC,TR\n99,1,1,1,1", "item,PR,LC,CC,TR\n1,6,1,1,1"]
)
def test_other_files_are_refused(text: str) -> None:
    _, key = make_sheet(SAMPLES, ROWS, {}, count=2)
    with pytest.raises(InputError, match="Ratings cannot be read"):
        read_ratings(text, key)


def test_nothing_to_rate() -> None:
    with pytest.raises(InputError, match="nothing to rate"):
        make_sheet([], ROWS, {})


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenes = tmp_path / "scenes"
    assert main(["data", "scenes", "--seed", "3", "--count", "2", "--size", "64", "--out", str(scenes)]) == 0
    data = scenes / "conversations.jsonl"
    line = {"id": json.loads(data.read_text().splitlines()[0])["id"], "turns": []}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "predictions.jsonl").write_text(json.dumps(line) + "\n")
    out = tmp_path / "sheet"
    row = f"Secret={tmp_path / 'run'}"
    assert main(["rate", "--data", str(data), "--row", row, "--count", "1", "--out", str(out)]) == 0
    assert "Secret" not in (out / "sheet.html").read_text()
    back = tmp_path / "ratings.csv"
    back.write_text("item," + ",".join(MARKS) + "\n1,3,3,3,3\n")
    assert main(["rate", "--ratings", str(back), "--key", str(out / "key.json"), "--out", str(out)]) == 0
    assert json.loads((out / "ratings.json").read_text())["Secret"]["PR"] == 3.0
    assert main(["rate", "--ratings", str(back), "--out", str(out)]) == 2
    capsys.readouterr()
