"""`segue data stats` and `segue data preview`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from segue.cli import main
from segue.scenes.build import build
from source_layouts import label_map, photo


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    return build(tmp_path / "scenes", seed=1, count=4, split="test", size=96, progress=False)


def test_stats_on_screen_and_as_files(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    assert main(["data", "stats", str(scenes), "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "unique objects" in shown
    assert "most frequent parts" in shown
    written = json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert written["splits"]["test"]["conversations"] == 4
    assert (tmp_path / "out" / "statistics.png").stat().st_size > 10_000


def test_stats_of_a_build_folder_count_its_rejects(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (scenes.parent / "rejected.jsonl").open("w") as file:
        file.write('{"letter": "f", "reason": "more than 16 masks"}\n')
    with scenes.open("a") as file:
        file.write("not json\n")
    assert main(["data", "stats", str(scenes.parent)]) == 0
    captured = capsys.readouterr()
    assert "(f) more than 16 masks" in captured.out
    assert "note: left out" in captured.err
    assert "conversations.jsonl:5" in captured.err


def test_preview_writes_a_page(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "preview", str(scenes), "--out", str(tmp_path / "page"), "--count", "2"]) == 0
    assert "2 of 4 conversations" in capsys.readouterr().err
    assert (tmp_path / "page" / "preview.html").read_text().count("<article") == 2


def test_check_reads_every_split_and_writes_the_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "PascalPart116"
    for split, number in (("train", 7), ("val", 8)):  # a cat without parts; a chair, whose class has none
        photo(root / "images" / split / "a.jpg")
        for folder, value in (("obj", number), ("part", 255)):
            numbers = np.full((24, 32), value, np.uint8)
            label_map(root / f"annotations_detectron2_{folder}" / split / "a.png", numbers)
    arguments = ["data", "check", "pascal_part116", str(root)]
    assert main([*arguments, "--report", str(tmp_path / "r" / "report.json")]) == 0
    shown = capsys.readouterr().out
    assert "(pascal_part116 train): 1 of 1 images, 1 objects, 0 parts" in shown
    assert "(pascal_part116 val): 0 of 1 images" in shown
    assert "dropped 1: object class without parts in the vocabulary" in shown
    reports = json.loads((tmp_path / "r" / "report.json").read_text())
    assert [report["split"] for report in reports] == ["train", "val"]
    assert reports[0]["names"] == {"cat": 1}
    assert main([*arguments, "--split", "val", "--set", "all_objects=true"]) == 0
    assert "1 of 1 images" in capsys.readouterr().out
    assert main([*arguments, "--split", "test"]) == 2
    assert main([*arguments, "--set", "all_objects"]) == 2
    assert "name=value" in capsys.readouterr().err


def test_mistakes_end_with_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "stats", str(tmp_path)]) == 2
    assert "at least one .jsonl file" in capsys.readouterr().err
    (tmp_path / "x.jsonl").write_text("rubbish\n")
    assert main(["data", "stats", str(tmp_path / "x.jsonl")]) == 2
    assert "nothing to count" in capsys.readouterr().err
    assert main(["data", "preview", str(tmp_path / "none.jsonl"), "--out", str(tmp_path / "p")]) == 2
    assert "nothing to show" in capsys.readouterr().err
