"""COCO and PACO files as own data."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue.data.own import read_own_data
from segue.errors import InputError, SegueError


def change(path: Path, **fields: Any) -> Path:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | fields))
    return path


def test_counts_names_and_drops_are_reported(coco_file: Path) -> None:
    data = read_own_data(coco_file, coco_file.parent / "images")
    assert data.format == "coco"
    assert data.files == [coco_file]
    assert (data.report.images, data.report.regions, data.report.conversations) == (5, 22, 0)
    assert data.report.names["cup"] == 9
    assert data.report.names["car's wheel"] == 3
    assert data.report.dropped == {"crowd region": 1}
    assert data.report.examples[0].record == "annotation 900"
    lines = "\n".join(data.report.lines())
    assert "5 images, 22 regions" in lines
    assert "dropped 1: crowd region" in lines
    assert "do this:" in lines


def test_a_folder_with_a_file_per_split(coco_file: Path) -> None:
    folder = coco_file.parent
    (folder / "my_train.json").write_text(coco_file.read_text())
    coco_file.rename(folder / "my_val.json")
    data = read_own_data(folder, folder / "images", split="val")
    assert data.files == [folder / "my_val.json"]
    assert data.source.draw(np.random.default_rng(0)).split == "val"
    (folder / "my_train.json").rename(folder / "my_val_too.json")
    with pytest.raises(InputError, match="not clear which file"):
        read_own_data(folder, folder / "images", split="val")


def test_missing_images_are_an_error_that_says_what_to_do(coco_file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="--images") as caught:
        read_own_data(coco_file, tmp_path / "empty")
    assert "image file not found (5)" in str(caught.value)


def test_a_size_that_is_missing_is_read_upright_from_the_image(
    coco_file: Path, picture: Any, hw: tuple[int, int], block: Any
) -> None:
    content = json.loads(coco_file.read_text())
    for image in content["images"]:
        del image["height"], image["width"]
    change(coco_file, images=content["images"])
    picture(coco_file.parent / "images" / "1.jpg", orientation=8)
    data = read_own_data(coco_file, coco_file.parent / "images")
    first, *others = data.source.images  # type: ignore[attr-defined]
    assert {image.hw for image in others} == {hw}
    # The run lengths of the first image have the size of the picture before it was turned.
    assert first.hw == hw[::-1]
    assert {tuple(region.rle["size"]) for region in first.regions} == {hw[::-1]}
    car = np.rot90(first.objects[0].mask, -1)  # orientation 8 turned it by 90 degrees to the left
    np.testing.assert_array_equal(car, block(2, 2, 20, 30))
    assert data.report.repaired["drawn before EXIF orientation was applied: masks turned upright"] == 1


def test_listed_negatives_bound_what_is_said_to_be_absent(coco_file: Path) -> None:
    content = json.loads(coco_file.read_text())
    for image in content["images"]:
        image["neg_category_ids"], image["not_exhaustive_category_ids"] = [4], [5]
    data = read_own_data(change(coco_file, images=content["images"]), coco_file.parent / "images")
    texts = [
        turn.text
        for seed in range(150)
        for turn in data.source.draw(np.random.default_rng(seed)).assistant_turns()
    ]
    denied = [text for text in texts if " no " in text or "not visible" in text]
    assert denied
    assert all("no cup in" in text for text in denied)
    # Apples are outlined, but not all of them: they are shown, and neither counted nor denied.
    apples = [text for text in texts if "apple" in text]
    assert apples
    assert all("an apple" in text for text in apples)
    notes = "\n".join(data.report.notes)
    assert "neg_category_ids" in notes
    assert "apple in 5" in notes


@pytest.mark.parametrize(
    "fields",
    [
        {"annotations": []},
        {"annotations": [3, None, {"id": []}]},
        {"annotations": [{"id": 1, "image_id": [1], "category_id": {}}]},
        {"annotations": [{"id": 1, "image_id": 1, "category_id": [2], "segmentation": "x"}]},
        {"images": [3, {"id": [1], "file_name": "1.jpg"}]},
        {"images": [{"id": 1, "file_name": "1.jpg", "height": 10**7, "width": 10**7}]},
        {"categories": [3, {"id": [1], "name": "car"}, {}]},
    ],
)
def test_malformed_records_never_give_a_traceback(coco_file: Path, fields: Any) -> None:
    with pytest.raises(SegueError, match="Nothing in this data can be used"):
        read_own_data(change(coco_file, **fields), coco_file.parent / "images", format="coco")


def test_all_of_the_car_photographs(shared: Path) -> None:
    start = time.process_time()  # of the processor: the clock would measure what else runs on the machine
    data = read_own_data(shared / "data" / "car_parts" / "train.json")
    assert time.process_time() - start < 10
    assert (data.report.images, data.report.regions, len(data.report.names)) == (391, 3308, 19)
    assert data.report.names["car's wheel"] == 277
    assert not data.report.dropped
    for seed in range(40):
        conversation = data.source.draw(np.random.default_rng(seed))
        assert all((data.source.root / image.path).is_file() for image in conversation.images)


def test_ids_and_names_that_no_record_can_hold_are_reported(coco_file: Path) -> None:
    content = json.loads(coco_file.read_text())
    content["annotations"].append(content["annotations"][0] | {"id": "1"})
    content["categories"][3]["name"] = "cup\ud800"
    content["images"][4]["id"] = "5\n5"
    for entry in content["annotations"]:
        entry["image_id"] = "5\n5" if entry["image_id"] == 5 else entry["image_id"]
    data = read_own_data(change(coco_file, **content), coco_file.parent / "images")
    assert data.report.dropped["annotation listed twice"] == 1
    assert data.report.dropped["unusable name"] == 8
    assert data.report.dropped["unusable image name"] == 1
    for seed in range(20):
        data.source.draw(np.random.default_rng(seed))
