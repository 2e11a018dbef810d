"""PACO-LVIS's layout and traps, on files written here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segue.data.sources import open_source
from segue.data.sources.taxonomy import load
from segue.errors import InputError, RecordError
from source_layouts import H, W, annotation, block, dump, photo

CATEGORIES = [
    {"id": entry["id"], "name": entry["label"], "supercategory": "OBJECT"}
    for entry in load("paco_lvis_v1")["objects"]
] + [
    {"id": part["id"], "name": f"{entry['label']}:{part['label']}", "supercategory": "PART"}
    for entry in load("paco_lvis_v1")["objects"]
    for part in entry["parts"]
]
ID = {entry["name"]: entry["id"] for entry in CATEGORIES}


def write(root: Path, annotations: list[dict[str, Any]], place: str = "annotations", **image: Any) -> Path:
    photo(root / "val2017/000000000001.jpg")
    # The record names train2017, where the photograph is not.
    entry = {
        "id": 1, "file_name": "train2017/000000000001.jpg", "height": H, "width": W,
        "neg_category_ids": [], "not_exhaustive_category_ids": [], **image,
    }  # fmt: skip
    content = {"images": [entry], "annotations": annotations, "categories": CATEGORIES}
    dump(root / place / "paco_lvis_v1_train.json", content)
    return root


CAR = annotation(10, 1, ID["car_(automobile)"], block(2, 2, 14, 30), obj_ann_id=10)


@pytest.mark.parametrize("place", ["annotations", ".", "paco_lvis_v1", "annotations/paco_lvis_v1"])
def test_the_file_and_the_photograph_are_found_wherever_they_lie(tmp_path: Path, place: str) -> None:
    source = open_source("paco_lvis", write(tmp_path, [CAR], place))
    (image,) = source
    assert image.path == tmp_path / "val2017/000000000001.jpg"
    assert [region.name for region in image.regions] == ["car"]
    assert source.report.dropped == {}


def test_parts_find_their_object_and_names_lose_their_decorations(tmp_path: Path) -> None:
    wheel = ID["car_(automobile):wheel"]
    annotations = [
        annotation(1, 1, wheel, block(12, 4, 14, 8), obj_ann_id=10),
        CAR,
        annotation(2, 1, ID["car_(automobile):mirror"], block(4, 4, 6, 6), obj_ann_id=2),
        annotation(3, 1, ID["car_(automobile):hood"], block(20, 4, 22, 6), obj_ann_id=99),
        annotation(4, 1, ID["mouse_(computer_equipment)"], block(20, 20, 24, 24), obj_ann_id=4),
        {**annotation(5, 1, ID["car_(automobile)"], block(0, 0, 1, 1), obj_ann_id=5), "segmentation": []},
    ]
    source = open_source("paco_lvis", write(tmp_path, annotations))
    (image,) = source
    assert [(r.rid, r.name, r.parent) for r in image.regions] == [
        ("1", "wheel", "10"),
        ("10", "car", None),
        ("2", "mirror", "10"),
        ("4", "mouse", None),
    ]
    assert source.report.dropped == {"part without parent": 1, "no segmentation": 1}
    assert source.report.repaired == {"part given the object it overlaps most": 1}
    assert image.unsure == {"car", "car:hood"}


def test_only_what_lvis_declares_absent_is_absent(tmp_path: Path) -> None:
    lists = {"neg_category_ids": [ID["dog"]], "not_exhaustive_category_ids": [ID["book"]]}
    (image,) = open_source("paco_lvis", write(tmp_path, [CAR], **lists))
    assert image.absent == {"dog"}
    assert image.unsure == {"book"}


def test_ball_and_napkin_have_no_parts(tmp_path: Path) -> None:
    ball = annotation(7, 1, ID["ball"], block(16, 2, 20, 6), obj_ann_id=7)
    root = write(tmp_path, [CAR, ball])
    source = open_source("paco_lvis", root)
    (image,) = source
    assert [region.name for region in image.regions] == ["car"]
    assert image.unsure == {"ball"}
    assert source.report.dropped == {"object class without parts in the vocabulary": 1}
    (image,) = open_source("paco_lvis", root, all_objects=True)
    assert [region.name for region in image.regions] == ["car", "ball"]
    write(root, [ball])
    assert list(open_source("paco_lvis", root)) == []


def test_a_photograph_of_another_size_is_dropped(tmp_path: Path) -> None:
    root = write(tmp_path, [CAR])
    photo(root / "val2017/000000000001.jpg", (W, H))
    source = open_source("paco_lvis", root)
    assert list(source) == []
    assert source.report.dropped == {"image size differs from its record": 1}


def test_what_is_not_paco_is_said(tmp_path: Path) -> None:
    root = write(tmp_path, [CAR])
    file = root / "annotations/paco_lvis_v1_train.json"
    dump(file, {"images": [], "annotations": [], "categories": [{"id": 1, "name": "car_(automobile)"}]})
    with pytest.raises(RecordError, match="no categories of parts"):
        list(open_source("paco_lvis", root))
    dump(file, {"images": [], "annotations": [], "categories": [*CATEGORIES[:-1], {"id": 9, "name": "yeti"}]})
    source = open_source("paco_lvis", root)
    assert list(source) == []
    assert [note.split(":")[0] for note in source.report.notes] == [
        "1 categories not of PACO-LVIS v1",
        "1 categories missing in the file",
    ]
    file.write_text("{")
    with pytest.raises(RecordError, match="not JSON"):
        list(open_source("paco_lvis", root))


def test_missing_files_are_named(tmp_path: Path) -> None:
    root = write(tmp_path / "paco", [CAR])
    with pytest.raises(InputError, match="early archives lacked the test split"):
        open_source("paco_lvis", root, split="test")
    with pytest.raises(InputError, match=r"photographs of COCO 2017 are not there"):
        open_source("paco_lvis", root, images=tmp_path)
    (root / "val2017").rename(tmp_path / "val2017")
    assert len(list(open_source("paco_lvis", root, images=tmp_path))) == 1
    with pytest.raises(InputError) as caught:
        open_source("paco_lvis", tmp_path / "val2017")
    assert f"did you mean {root}?" in str(caught.value)
