"""`segue export` and `segue ask --masks`: files, what is lost, and answers that cannot be exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue import masks
from segue.cli import main
from segue.exports import read_export


@pytest.fixture
def answer(tmp_path: Path) -> Path:
    """A folder with an answer.json of one image."""
    mask = np.zeros((4, 6), bool)
    mask[1:3, 1:4] = True
    content = {
        "question": "Where is the cat?",
        "text": "The cat.",
        "markup": "The <p> cat </p> [SEG] (IMAGE1).",
        "model": "m",
        "images": [{"path": "cat.jpg", "height": 4, "width": 6}],
        "groundings": [
            {
                "phrase": "cat", "span": [4, 7], "image_index": 0, "segmentation": masks.encode(mask),
                "bbox": masks.box(mask), "area": 6, "score": 0.5,
            }
        ],
        "problems": [],
        "notes": [],
        "finished": True,
    }  # fmt: skip
    (tmp_path / "answer").mkdir()
    (tmp_path / "answer" / "answer.json").write_text(json.dumps(content))
    return tmp_path / "answer"


@pytest.mark.parametrize("given", ["answer", "answer/answer.json"])
def test_a_folder_or_its_file(given: str, answer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = answer.parent / "out"
    assert main(["export", str(answer.parent / given), "--format", "polygons", "--out", str(out)]) == 0
    assert [m.phrase for image in read_export(out, "polygons") for m in image.masks] == ["cat"]
    said = capsys.readouterr()
    assert "not in polygons: the text of the answer" in said.err


def damaged(content: dict[str, Any], how: str) -> str:
    if how == "truncated":
        return json.dumps(content)[:-20]
    if how == "field":
        del content["text"]
    if how == "size":
        content["groundings"][0]["segmentation"]["size"] = [6, 4]
    if how == "counts":
        content["groundings"][0]["segmentation"]["counts"] = "1"
    if how == "image":
        content["groundings"][0]["image_index"] = 3
    return json.dumps(content)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("truncated", "no JSON"), ("field", "text: Field required"), ("size", "another size"),
        ("counts", "damaged"), ("image", "another size"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(
    how: str, said: str, answer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = answer / "answer.json"
    path.write_text(damaged(json.loads(path.read_text()), how))
    out = answer.parent / "out"
    assert main(["export", str(answer), "-f", "coco", "-o", str(out)]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_a_missing_answer_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path / "x.json"), "-f", "coco", "-o", str(tmp_path / "out")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_masks_need_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert main(["ask", str(tmp_path / "a.png"), "-q", "What?", "--masks", "png"]) == 2
    assert "--out" in capsys.readouterr().err
