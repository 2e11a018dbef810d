"""The authors' release: columns found by name and content, and what is missing said."""

import json
from pathlib import Path
from typing import Any

import pytest

from segue.data.own.m4seg_release import read_release
from segue.errors import RecordError

arrow = pytest.importorskip(
    "pyarrow", reason="Parquet needs PyArrow, which is optional: pip install 'segue[data]'"
)

TAGGED = (
    "In Image 1, the <p> cat </p> [SEG] (IMAGE1) sleeps, in Image 2 the <p> dog's tail </p> [SEG] (IMAGE2)."
)
CODED = "In Image 1, the cat 101 sleeps, in Image 2 the dog's tail 20101 wags, like a Boeing 747."
CLEAN = "In Image 1, the cat sleeps, in Image 2 the dog's tail"


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow.parquet

    pyarrow.parquet.write_table(arrow.Table.from_pylist(rows), path)
    return path


def test_questions_and_tagged_answers(tmp_path: Path) -> None:
    row = {"Question": "How?", "answer": TAGGED, "image_ids": ["a.jpg", "b.jpg"], "split": "test", "odd": 1}
    release = read_release([parquet(tmp_path / "a.parquet", [row])])
    assert release.columns == {
        "question": "Question",
        "answer": "answer",
        "images": "image_ids",
        "split": "split",
    }
    assert release.unused == ["odd"]
    assert [line for line in release.missing() if line.startswith("masks")]
    [record] = release
    assert record.turns[1].text == CLEAN + "."
    assert record.split == "test"
    assert [image.path for image in record.images] == ["a.jpg", "b.jpg"]
    assert [(r.name, r.image_index, r.mask) for r in record.regions] == [
        ("cat", 0, None),
        ("dog's tail", 1, None),
    ]


def test_turns_and_identifiers(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "How?"}, {"from": "gpt", "value": CODED}]
    rows = [{"id": "7", "conversations": json.dumps(turns)}, {"id": "8", "conversations": "[]"}]
    release = read_release([parquet(tmp_path / "a.parquet", rows)])
    assert release.grounding == "identifiers"
    [record] = release
    assert record.id == "m4seg/release/7"
    assert record.turns[1].text == CLEAN + " wags, like a Boeing 747."
    assert [(r.name, r.image_index) for r in record.regions] == [("cat", 0), ("tail", 1)]
    assert release.dropped == {"row without a question or an answer": 1}
    assert any("images" in line for line in release.lines())


def test_what_cannot_be_a_release(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", [{"height": 3, "width": 4}])
    with pytest.raises(RecordError, match=r"height \(int\), width \(int\)"):
        read_release([path])
    other = parquet(tmp_path / "b.parquet", [{"question": "a", "answer": "b"}])
    with pytest.raises(RecordError, match="different columns"):
        read_release([other, path])
    with pytest.raises(RecordError, match="no release"):
        read_release([])
