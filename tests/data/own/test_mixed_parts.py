"""MixedParts: parts by supercategory, objects made of their parts, and pairs of images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue.data.own import detect_format, read_own_data
from segue.data.own.mixed_parts import PairSource, as_coco, part_names
from segue.errors import InputError
from segue.evaluation.evaluation_data import read_evaluation_data


def box(left: int, top: int, right: int, bottom: int) -> list[list[float]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def annotation(number: int, image: int, category: int, outline: list[list[float]]) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": category, "segmentation": outline, "iscrowd": 0}


CATEGORIES = [
    {"id": 1, "name": "dog head", "supercategory": "dog"},
    {"id": 2, "name": "dog's paw", "supercategory": "dog"},
    {"id": 3, "name": "dog", "supercategory": "animal"},
    {"id": 4, "name": "Chair_Leg", "supercategory": "Chair"},
]
CONTENT: dict[str, Any] = {
    "images": [{"id": k, "file_name": f"{k}.jpg", "height": 30, "width": 40} for k in (1, 2, 3)],
    "categories": CATEGORIES,
    "annotations": [
        annotation(1, 1, 3, box(0, 0, 20, 20)), annotation(2, 1, 1, box(0, 0, 8, 8)),
        annotation(3, 2, 1, box(2, 2, 10, 10)), annotation(4, 2, 2, box(12, 12, 18, 18)),
        annotation(5, 3, 4, box(5, 5, 9, 25)),
    ],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    for k in (1, 2, 3):
        picture(tmp_path / f"{k}.jpg")
    (tmp_path / "mixed_parts_train.json").write_text(json.dumps(CONTENT | {"pairs": [[1, 2], [2, 3]]}))
    (tmp_path / "mixed_parts_val.json").write_text(json.dumps(CONTENT | {"pairs": [[1, 3]]}))
    return tmp_path


def test_parts_are_told_by_their_supercategory() -> None:
    assert part_names(CATEGORIES) == {"1": "dog:head", "2": "dog:paw", "4": "chair:leg"}
    beside = [
        {"id": 1, "name": "door", "supercategory": "car"},
        {"id": 2, "name": "car", "supercategory": "car"},
    ]
    assert part_names(beside) == {"1": "car:door"}
    coco = [
        {"id": 1, "name": "sports ball", "supercategory": "sports"},
        {"id": 2, "name": "cat", "supercategory": "animal"},
        {"id": 3, "name": "car", "supercategory": "vehicle"},
    ]
    assert part_names(coco) == {}
    assert part_names([{"id": 1}, 3, {"id": [2], "name": "a b", "supercategory": "a"}]) == {}


def test_an_object_is_made_of_its_parts_where_no_whole_is_outlined() -> None:
    lists, made = as_coco(CONTENT)
    assert made == 2, "the dog of image 2, the chair of image 3"
    new = lists["annotations"][5:]
    assert [(a["image_id"], len(a["segmentation"])) for a in new] == [(2, 2), (3, 1)]
    names = {c["id"]: c["name"] for c in lists["categories"]}
    assert [names[a["category_id"]] for a in new] == ["dog", "chair"]


def test_pairs_are_what_is_asked_about(folder: Path) -> None:
    assert detect_format(folder) == "mixedparts"
    data = read_own_data(folder)
    assert data.format == "mixedparts"
    assert isinstance(data.source, PairSource)
    assert len(data.source) == 2
    assert sum(data.report.repaired.values()) >= 2
    assert {"dog", "chair"} <= set(data.report.names)
    assert any("head" in name for name in data.report.names)
    sets = set()
    for seed in range(20):
        conversation = data.source.draw(np.random.default_rng(seed))
        sets.add(frozenset(image.path for image in conversation.images))
        assert all(region.mask is not None for region in conversation.regions)
    assert sets == {frozenset({"1.jpg", "2.jpg"}), frozenset({"2.jpg", "3.jpg"})}


def test_it_is_evaluated_on_too(folder: Path) -> None:
    data = read_evaluation_data(folder, split="val", count=5)
    assert len(data.conversations) == 5
    assert {image.path for c in data.conversations for image in c.images} == {"1.jpg", "3.jpg"}


def test_pairs_in_other_forms_and_broken_ones(tmp_path: Path, picture: Callable[..., Path]) -> None:
    for k in (1, 2, 3):
        picture(tmp_path / f"{k}.jpg")
    pairs = [
        {"image_ids": [1, 2]}, {"image_id_1": "2", "image_id_2": 3}, ["1.jpg", "3.jpg"],
        {"images": ["1", "1"]}, [1], {"image_ids": [1, 99]}, "1,2", None,
    ]  # fmt: skip
    file = tmp_path / "data.json"
    file.write_text(json.dumps(CONTENT | {"image_pairs": pairs}))
    assert detect_format(file) == "mixedparts"
    data = read_own_data(file)
    assert isinstance(data.source, PairSource)
    assert len(data.source) == 3
    assert data.report.dropped["pair without two usable images"] == 5


def test_without_pairs_images_are_grouped_by_what_they_show(
    tmp_path: Path, picture: Callable[..., Path]
) -> None:
    for k in (1, 2, 3):
        picture(tmp_path / f"{k}.jpg")
    (tmp_path / "a.json").write_text(json.dumps(CONTENT))
    assert detect_format(tmp_path / "a.json") == "mixedparts", "categories are parts"
    data = read_own_data(tmp_path / "a.json")
    assert not isinstance(data.source, PairSource)
    assert any("no list of pairs" in note for note in data.report.notes)
    assert len(data.source) == 3


def test_without_pictures_it_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "mixed_parts_train.json").write_text(json.dumps(CONTENT))
    with pytest.raises(InputError, match="--images"):
        read_own_data(tmp_path)


def test_plain_coco_stays_coco(coco_file: Path) -> None:
    assert detect_format(coco_file) == "coco"
