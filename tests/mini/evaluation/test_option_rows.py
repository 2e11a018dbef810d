"""Tables of what leaving out each option costs: from the files that are there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segue.errors import InputError
from segue.mini.evaluation.option_rows import COLUMNS, LEFT_OUT, main, table

RECIPE = Path(__file__).resolve().parents[3] / "recipes" / "ablate_mini.sh"


def test_a_row_for_each_run_and_a_dash_for_what_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = {"usual": {"all": {"f1": 0.5}}, "photographs": {"all": {"f1": 0.25}}}
    (tmp_path / "talk_all.json").write_text(json.dumps(report))
    (tmp_path / "talk_pointing.json").write_text(json.dumps({}))
    assert table(tmp_path, "talk").splitlines()[2:] == [
        "| nothing left out | 0.500 | - | 0.250 | - | - | - | - |",
        f"| {LEFT_OUT['pointing']} | - | - | - | - | - | - | - |",
    ]
    main([str(tmp_path)])
    assert "0.250" in capsys.readouterr().out
    with pytest.raises(InputError, match="look"):
        table(tmp_path, "look")


def test_every_run_of_the_script_has_a_name() -> None:
    words = [line.split() for line in RECIPE.read_text().splitlines()]
    runs = {line[1] for line in words if len(line) > 1 and line[0] in COLUMNS}
    assert runs == set(LEFT_OUT)
