"""One run of all figures: a silent model refuses everything, parts that are measured already stay."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.mini.evaluation.test_photo_pairs import PHOTOGRAPHS

from segue.inference.loaded_model import LoadedModel
from segue.mini.evaluation import photo_report
from segue.mini.evaluation.photo_report import PhotoReport

SILENT = SimpleNamespace(
    session=lambda pictures: SimpleNamespace(ask=lambda question: SimpleNamespace(groundings=[])),
    name="silent",
    path=None,
)


def test_a_silent_model_refuses_everything(tmp_path: Path) -> None:
    report = PhotoReport(cast(LoadedModel, SILENT), PHOTOGRAPHS, tmp_path, 8)
    found = report.parts["pairs"]()
    assert found["absent"]["refused"] == found["present"]["refused"] == 1.0
    assert found["present"]["right_image"] == found["present"]["mean_iou"] == 0.0
    assert found["present"]["pairs"] == 8
    assert report.parts["neighbours"]()["ratio"] == 0.0


def test_names_that_were_never_trained_have_a_row_of_their_own(tmp_path: Path) -> None:
    assert "left_out" not in PhotoReport(cast(LoadedModel, SILENT), PHOTOGRAPHS, tmp_path, 8).parts
    config = SimpleNamespace(left_out=["dog"])
    silent = SimpleNamespace(**vars(SILENT), model=SimpleNamespace(config=config))
    found = PhotoReport(cast(LoadedModel, silent), PHOTOGRAPHS, tmp_path, 8).parts["left_out"]()
    assert found["names"] == ["dog"]
    assert found["present"]["pairs"] == 4
    assert [name for name in found["present"] if " " in name] == ["right_image dog"]


def test_parts_that_are_measured_already_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(self: Any) -> dict[str, Any]:
        return {name: lambda name=name: {"of": name} for name in ("pairs", "controls")}

    monkeypatch.setattr(photo_report, "load", lambda name: SimpleNamespace())
    monkeypatch.setattr(photo_report, "read_photographs", lambda *given: [])
    monkeypatch.setattr(PhotoReport, "parts", property(counted))
    out = tmp_path / "found.json"
    given = ["segue-mini", "--data", str(tmp_path), "--out", str(out)]
    out.write_text(json.dumps({"pairs": "as before"}))
    photo_report.main([*given, "--only", "controls"])
    assert json.loads(out.read_text()) == {"pairs": "as before", "controls": {"of": "controls"}}
    photo_report.main(given)
    assert json.loads(out.read_text())["pairs"] == {"of": "pairs"}
