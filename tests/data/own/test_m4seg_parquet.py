"""M4Seg's Parquet in several guesses of its columns: masks by name, by place, as JSON; and what lacks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue.data.own import detect_format, read_own_data
from segue.data.own.m4seg_release import read_release
from segue.data.own.row_masks import RowMask, row_masks
from segue.errors import InputError, RecordError
from segue.evaluation.evaluation_data import read_evaluation_data

arrow = pytest.importorskip("pyarrow", reason="Parquet needs pip install 'segue[data]'")

QUESTION = "What can hold water?"
ANSWER = "The <p> red mug </p> [SEG] (IMAGE1) and the <p> bowl </p> [SEG] (IMAGE2)."


@pytest.fixture
def write(tmp_path: Path, picture: Callable[..., Path]) -> Callable[[list[dict[str, Any]]], Path]:
    import pyarrow.parquet

    def write(rows: list[dict[str, Any]], name: str = "train-00000.parquet") -> Path:
        for k in (1, 2):
            picture(tmp_path / f"{k}.jpg")
        pyarrow.parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / name)
        return tmp_path / name

    return write


def forms(rle: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    mug, bowl = rle(0, 0, 10, 10), rle(5, 5, 25, 30)
    polygon = [5.0, 5.0, 30.0, 5.0, 30.0, 25.0, 5.0, 25.0]
    return {
        "by place": [mug, bowl],
        "JSON": json.dumps([mug, bowl]),
        "records with names, in another order": json.dumps([
            {"name": "bowl", "image": 2, "segmentation": bowl}, {"name": "red mug", "image": 1, "rle": mug}]),
        "by image and name": json.dumps({"IMAGE2": {"bowl": polygon}, "IMAGE1": {"red_mug": mug}}),
        "from 0": [{"category": "red mug", "image_index": 0, "mask": json.dumps(mug)},
                   {"category": "bowl", "image_index": 1, "mask": json.dumps(bowl)}],
    }  # fmt: skip


@pytest.mark.parametrize(
    "form", ["by place", "JSON", "records with names, in another order", "by image and name", "from 0"]
)
def test_masks_in_many_forms(form: str, write: Any, rle: Any) -> None:
    row = {"question": QUESTION, "answer": ANSWER, "images": ["1.jpg", "2.jpg"], "masks": forms(rle)[form]}
    file = write([row])
    assert detect_format(file) == detect_format(file.parent) == "m4seg"
    data = read_own_data(file)
    record = data.source.draw(np.random.default_rng(0))
    assert [(r.name, r.image_index) for r in record.regions] == [("red mug", 0), ("bowl", 1)]
    sizes = [dict(r.mask or {})["size"] for r in record.regions]
    assert sizes == [[30, 40], [30, 40]]
    from segue import masks

    assert [masks.area(r.mask) for r in record.regions] == [100, 500]  # type: ignore[arg-type]
    assert (record.images[0].height, record.images[0].width) == (30, 40)


def test_columns_are_found_by_what_they_hold(write: Any, rle: Any) -> None:
    rows = [
        {"c1": json.dumps([rle(0, 0, 10, 10), rle(5, 5, 25, 30)]), "c2": QUESTION, "c3": ANSWER,
         "c4": ["1.jpg", "2.jpg"], "c5": 7}
    ]  # fmt: skip
    release = read_release([write(rows)])
    assert release.columns == {"masks": "c1", "question": "c2", "answer": "c3", "images": "c4"}
    assert release.unused == ["c5"]
    assert len(read_evaluation_data(write(rows), split="train").conversations) == 1


def test_what_lacks_is_said(write: Any, rle: Any) -> None:
    full = {"question": QUESTION, "answer": ANSWER, "images": ["1.jpg", "2.jpg"]}
    good = json.dumps([rle(0, 0, 10, 10), rle(5, 5, 25, 30)])
    rows = [
        full | {"masks": good}, full | {"masks": None}, full | {"masks": json.dumps([rle(0, 0, 3, 3)])},
        full | {"masks": json.dumps([{"name": "lamp", "rle": rle(0, 0, 3, 3)}])},
        full | {"answer": "Nothing.", "masks": good}, full | {"images": ["1.jpg", "9.jpg"], "masks": good},
        full | {"masks": json.dumps([{"size": [7, 7], "counts": "0"}] * 2)},
    ]  # fmt: skip
    data = read_own_data(write(rows))
    assert len(data.source) == 1
    dropped = data.report.dropped
    assert dropped["phrases without masks"] == 1
    assert dropped["masks and phrases do not match"] == 2
    assert dropped["answer without grounded phrase"] == 1
    assert dropped["image file not found"] == 1
    assert dropped["mask that cannot be read"] == 1
    assert any("masks: column 'masks'" in note for note in data.report.notes)


def test_a_release_of_texts_alone_lists_what_was_looked_for(write: Any) -> None:
    file = write([{"question": QUESTION, "answer": ANSWER, "images": ["1.jpg", "2.jpg"]}])
    with pytest.raises(InputError, match="columns looked for: question: question, query") as caught:
        read_own_data(file)
    assert "phrases without masks (1)" in str(caught.value)
    with pytest.raises(RecordError, match="columns looked for"):
        read_own_data(write([{"x": 1.5}], "other.parquet"))


def test_our_own_files_come_back(write: Any, tmp_path: Path, rle: Any) -> None:
    from segue.datasets.m4seg.parquet import write_parquet

    file = write([{"question": QUESTION, "answer": ANSWER, "images": ["1.jpg", "2.jpg"],
                   "masks": json.dumps([rle(0, 0, 10, 10), rle(5, 5, 25, 30)])}])  # fmt: skip
    record = read_own_data(file).source.draw(np.random.default_rng(0))
    record = record.model_copy(
        update={"images": [i.model_copy(update={"path": Path(i.path).name}) for i in record.images]}
    )
    (tmp_path / "own").mkdir()
    write_parquet(tmp_path / "own" / "train.parquet", [record])
    again = read_own_data(tmp_path / "own", tmp_path).source.draw(np.random.default_rng(0))
    assert again == record


def test_cells_that_hold_no_masks() -> None:
    for value in (None, 3, "words", "[1, 2", "[1, 2]", {"a": 3}, b"x" * 9, [[[]]], "[" * 500):
        assert row_masks(value) == []
    deep: Any = [1.0, 1, 5, 1, 5, 5]
    for _ in range(30):
        deep = [deep]
    assert row_masks(deep) == []
    assert row_masks([1, 1, 5, 1, 5, 5]) == [RowMask([[1, 1, 5, 1, 5, 5]])]
    pieces = {"name": "mug", "polygons": [[1, 1, 5, 1, 5, 5], [7, 7, 9, 7, 9, 9]]}
    assert row_masks(pieces) == [RowMask([[1, 1, 5, 1, 5, 5], [7, 7, 9, 7, 9, 9]], "mug")]
