"""Data to evaluate on: every question once, in any format, with ids that are the same in every run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segue import masks
from segue.errors import InputError, RecordError
from segue.evaluation.evaluation_data import read_evaluation_data
from segue.evaluation.protocols import protocol_of

HW = (30, 40)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", HW[::-1], (90, 120, 60)).save(path)


def rle(top: int, left: int, bottom: int, right: int) -> masks.RLE:
    mask = np.zeros(HW, bool)
    mask[top:bottom, left:right] = True
    return masks.encode(mask)


def coco(folder: Path) -> Path:
    """Two pictures of cups and apples."""
    annotations = []
    for number in (1, 2):
        picture(folder / "images" / f"{number}.jpg")
        for category, box in ((1, (2, 2, 12, 12)), (2, (15, 15, 28, 30))):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category,
                    "segmentation": dict(rle(*box)),
                    "iscrowd": 0,
                    "area": 1,
                }
            )
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "height": HW[0], "width": HW[1]} for n in (1, 2)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "apple"}],
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


def test_reasonseg_asks_the_first_text_of_each_image(tmp_path: Path) -> None:
    folder = tmp_path / "reason" / "val"
    shapes = [{"label": "target", "points": [[5, 5], [25, 5], [25, 25], [5, 25]]}]
    for name in ("a", "b"):
        picture(folder / f"{name}.jpg")
        content = {"text": ["What holds coffee?", "Never asked."], "is_sentence": True, "shapes": shapes}
        (folder / f"{name}.json").write_text(json.dumps(content))
    data = read_evaluation_data(tmp_path / "reason")
    assert [c.meta["text"] for c in data.conversations] == ["What holds coffee?"] * 2
    again = read_evaluation_data(tmp_path / "reason")
    assert [c.id for c in again.conversations] == [c.id for c in data.conversations]
    assert (again.sha256, protocol_of(None, data.conversations).name) == (data.sha256, "reasonseg")
    assert all(path.is_file() for c in data.conversations for path in data.image_paths(c))
    assert len(read_evaluation_data(tmp_path / "reason", limit=1).conversations) == 1


def test_refcoco_asks_every_expression_by_itself(tmp_path: Path) -> None:
    coco(tmp_path)
    expressions = [(1, 1, ("left cup", "cup on top")), (1, 2, ("apple",)), (2, 3, ("a cup",))]
    references = [
        {
            "ref_id": number,
            "image_id": image,
            "ann_id": annotation,
            "split": "val",
            "sentences": [{"sent_id": k, "sent": text} for k, text in enumerate(texts)],
        }
        for number, (image, annotation, texts) in enumerate(expressions)
    ]
    (tmp_path / "grefs(unc).json").write_text(json.dumps(references))
    data = read_evaluation_data(tmp_path, tmp_path / "images", "refcoco")
    asked = sorted(c.meta["texts"][0].removeprefix("the ") for c in data.conversations)
    assert asked == ["a cup", "apple", "cup on top", "left cup"]
    assert all(len(c.assistant_turns()) == 1 for c in data.conversations)
    assert len({c.id for c in data.conversations}) == 4
    assert protocol_of(None, data.conversations).name == "refcoco"


def test_annotations_without_text_are_composed_about(tmp_path: Path) -> None:
    path = coco(tmp_path)
    data = read_evaluation_data(path, tmp_path / "images", count=3, seed=4)
    assert len(data.conversations) == 3
    assert data.sha256 == read_evaluation_data(path, tmp_path / "images", count=3, seed=4).sha256
    assert data.sha256 != read_evaluation_data(path, tmp_path / "images", count=3, seed=5).sha256
    assert data.notes


def test_records_that_are_not_there_or_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file of records"):
        read_evaluation_data(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match="nothing to evaluate"):
        read_evaluation_data(tmp_path / "empty.jsonl")
    (tmp_path / "torn.jsonl").write_text('{"schema": ')
    with pytest.raises(RecordError):
        read_evaluation_data(tmp_path / "torn.jsonl")
