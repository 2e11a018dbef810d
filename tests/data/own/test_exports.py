"""Exports of real tools, rebuilt small: what is sound is kept, what is not is said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segue import masks
from segue.cli import main
from segue.data.own import detect_format, read_own_data
from segue.errors import InputError, RecordError

NAMES = ["mug", "book"]
BOXES = ((2, 2, 12, 12), (20, 4, 30, 16), (4, 18, 14, 28))


def polygon(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def coco(num_images: int = 3, **changed: Any) -> dict[str, Any]:
    """Pictures 1.png .. of 40 x 30, each with two mugs and a book."""
    images = [{"id": k, "file_name": f"{k}.png", "height": 30, "width": 40} for k in range(1, num_images + 1)]
    annotations = [
        {
            "id": 10 * image["id"] + n,
            "image_id": image["id"],
            "category_id": 1 + (n == 2),
            "segmentation": polygon(*box),
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "iscrowd": 0,
        }
        for image in images
        for n, box in enumerate(BOXES)
    ]
    categories = [{"id": n, "name": name} for n, name in enumerate(NAMES, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories} | changed


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def _write(
        content: Any, name: str = "x.json", *, size: tuple[int, int] = (40, 30), exif: int = 1
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        told = Image.Exif()
        told[0x0112] = exif
        for image in content["images"]:
            Image.new("RGB", size).save(path.parent / image["file_name"], exif=told)
        path.write_text(json.dumps(content))
        return path

    return _write


def test_one_bad_record_leaves_the_sound_ones_of_its_name(write: Any) -> None:
    content = coco()
    content["annotations"][0] |= {"segmentation": [[1, 2, 3, 4]]}
    data = read_own_data(write(content))
    assert data.report.names == {"mug": 5, "book": 3}
    assert data.report.dropped == {"no usable polygon": 1}
    assert "mug in 1" in "".join(data.report.notes)
    texts = [data.source.draw(np.random.default_rng(seed)) for seed in range(150)]
    first = [c for c in texts if [i.image_id for i in c.images] == ["own:1"]]
    assert first
    for conversation in first:  # one mug of the first picture is missing, so neither "one" nor "no" is said
        said = " ".join(turn.text for turn in conversation.assistant_turns())
        assert "one mug" not in said
        assert "no mug" not in said


def test_ids_twice_mix_nothing_up(write: Any) -> None:
    content = coco()
    content["images"][1]["id"] = 1
    data = read_own_data(write(content))
    assert {image.path.name for image in data.source.images} == {"3.png"}  # type: ignore[attr-defined]
    assert data.report.dropped["repeated image id"] == 2
    assert data.report.dropped["annotation of a repeated image id"] == 3
    assert "'1.png', '2.png'" in "\n".join(data.report.lines())
    content = coco(
        categories=[{"id": 1, "name": "mug"}, {"id": 1, "name": "plate"}, {"id": 2, "name": "book"}]
    )
    data = read_own_data(write(content))
    assert data.report.names == {"book": 3}
    assert data.report.dropped == {"repeated category id": 6}
    assert "'mug', 'plate'" in "".join(data.report.notes)


def test_annotation_ids_may_restart_or_be_missing(write: Any) -> None:
    for ids in ([1, 2, 3] * 3, [None] * 9, ["7"] * 9):
        content = coco()
        for entry, number in zip(content["annotations"], ids, strict=True):
            entry["id"] = number
        data = read_own_data(write(content))
        assert data.report.regions == 9
        for image in data.source.images:  # type: ignore[attr-defined]
            assert len({region.rid for region in image.regions}) == 3


@pytest.mark.parametrize("stated", ["image_id", "id"])
def test_one_and_the_text_one_are_the_same(write: Any, stated: str) -> None:
    content = coco()
    for entry in content["annotations" if stated == "image_id" else "images"]:
        entry[stated] = str(entry[stated])
    assert read_own_data(write(content)).report.regions == 9


def as_runs(content: dict[str, Any], *, by_row: bool = False, crowd: int = 0) -> dict[str, Any]:
    for entry in content["annotations"]:
        mask = masks.from_polygons(entry["segmentation"], (30, 40))
        if by_row:  # as numpy flattens an array, under the label of the picture's own size
            mask = mask.ravel().reshape(40, 30).T
        entry |= {"segmentation": dict(masks.encode(mask)), "iscrowd": crowd}
    return content


def test_run_lengths_counted_by_row_are_recognised_by_their_bbox(write: Any) -> None:
    right = read_own_data(write(as_runs(coco())))
    wrong = read_own_data(write(as_runs(coco(), by_row=True)))
    pairs = zip(right.source.images, wrong.source.images, strict=True)  # type: ignore[attr-defined]
    assert all(
        a.rle == b.rle for one, other in pairs for a, b in zip(one.regions, other.regions, strict=True)
    )
    assert sum(wrong.report.repaired.values()) == 9


def test_masks_that_contradict_their_record_are_left_out(write: Any) -> None:
    content = coco()
    content["annotations"][0]["bbox"] = [25, 20, 5, 5]
    del content["annotations"][1]["bbox"]
    content["annotations"][1]["area"] = 5000
    data = read_own_data(write(content))
    assert data.report.dropped == {"mask contradicts its bbox": 1, "mask contradicts its area": 1}
    assert data.report.regions == 7


def test_fractions_are_scaled_and_said(write: Any) -> None:
    content = coco()
    for entry in content["annotations"]:
        entry["segmentation"] = [[v / (40, 30)[i % 2] for i, v in enumerate(entry["segmentation"][0])]]
    data = read_own_data(write(content))
    assert data.report.repaired == {"coordinates are fractions of the picture: scaled to pixels": 9}
    assert data.source.images[0].regions[0].area == 100  # type: ignore[attr-defined]


def test_iscrowd_as_a_mark_of_run_lengths(write: Any) -> None:
    data = read_own_data(write(as_runs(coco(), crowd=1)))
    assert data.report.regions == 9
    assert "iscrowd" in "".join(data.report.notes)
    mixed = as_runs(coco(), crowd=0)
    mixed["annotations"][0]["iscrowd"] = 1
    path = write(mixed)
    data = read_own_data(path)
    assert data.report.dropped == {"crowd region": 1}
    assert "--keep-crowds" in "\n".join(data.report.lines())
    assert read_own_data(path, keep_crowds=True).report.regions == 9


def test_pictures_of_another_size_are_refused_with_both_sizes(write: Any) -> None:
    with pytest.raises(InputError, match="size differs") as caught:
        read_own_data(write(coco(), size=(20, 15)))
    assert "20 x 15" in str(caught.value)
    assert "40 x 30" in str(caught.value)


def test_a_swapped_size_is_settled_by_the_coordinates(write: Any) -> None:
    content = coco()
    # Upright (EXIF 6) the pictures are 30 wide and 40 high; only there the books lie inside.
    for entry in content["annotations"]:
        entry["segmentation"], entry["bbox"] = polygon(5, 22, 25, 38), [5, 22, 20, 16]
    content["annotations"][0]["segmentation"] = polygon(1, 1, 9, 9)
    del content["annotations"][0]["bbox"]
    data = read_own_data(write(content, exif=6))
    assert {image.hw for image in data.source.images} == {(40, 30)}  # type: ignore[attr-defined]
    assert sum("EXIF" in reason for reason in data.report.repaired) == 1


def test_entries_of_one_picture_are_one_image(write: Any) -> None:
    content = coco(1)
    content["images"].append(content["images"][0] | {"id": 2})
    content["annotations"][2]["image_id"] = 2  # the book stands with the second entry
    data = read_own_data(write(content))
    (image,) = data.source.images  # type: ignore[attr-defined]
    assert sorted(region.name for region in image.regions) == ["book", "mug", "mug"]
    assert sum(data.report.repaired.values()) == 1


def test_panoptic_files_get_their_own_advice(write: Any) -> None:
    content = coco(annotations=[{"image_id": 1, "file_name": "1.png", "segments_info": []}])
    with pytest.raises(RecordError, match="panoptic2detection"):
        read_own_data(write(content), format="coco")


def test_splits_by_the_names_that_tools_give_them(write: Any, tmp_path: Path) -> None:
    for part, count in (("train", 3), ("valid", 2), ("test", 1)):
        write(coco(count), f"export/{part}/_annotations.coco.json")
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        assert read_own_data(tmp_path / "export", split=split).report.images == count
    for task in ("instances", "captions", "person_keypoints"):
        write(coco(2), f"coco/{task}_val2017.json")
    assert read_own_data(tmp_path / "coco", split="val").files[0].name == "instances_val2017.json"


def test_what_was_drawn_from_a_folder_does_not_become_its_data(write: Any, tmp_path: Path) -> None:
    folder = write(coco()).parent
    assert main(["data", "own", str(folder), "--out", str(folder / "val.jsonl"), "--count", "3"]) == 0
    assert detect_format(folder) == "coco"
    assert detect_format(folder / "val.jsonl") == "gconv"
    assert read_own_data(folder / "val.jsonl", split="val").report.conversations == 3


def test_conversations_of_a_folder_are_chosen_by_split(write: Any, tmp_path: Path) -> None:
    source = write(coco(), "a/x.json")
    build = tmp_path / "build"
    build.mkdir()
    for split in ("train", "test"):
        out = build / f"{split}.jsonl"
        assert main(["data", "own", str(source), "--out", str(out), "--split", split, "--count", "2"]) == 0
        out.write_text(out.read_text().replace('"drawn_from"', '"by_hand"'))
    (build / "rejected.jsonl").write_bytes((build / "test.jsonl").read_bytes())
    assert detect_format(build) == "gconv"
    for split in ("train", "test"):
        assert read_own_data(build, split=split).report.conversations == 2
    with pytest.raises(InputError, match="--split"):
        read_own_data(build, split="val")
    # In another encoding than UTF-8 they are read too.
    (build / "train.jsonl").write_bytes((build / "train.jsonl").read_text().encode("utf-16"))
    assert read_own_data(build, split="train").report.conversations == 2


def test_advice_names_the_option_that_is_meant(write: Any, tmp_path: Path) -> None:
    path = write(coco())
    for name in ("1.png", "2.png", "3.png"):
        (tmp_path / name).unlink()
    with pytest.raises(InputError) as caught:
        read_own_data(path, images_option="--val-images")
    assert caught.value.fix.count("--val-images") == 1


def test_grandf_in_the_form_of_flickr_and_as_one_dict(write: Any, tmp_path: Path) -> None:
    caption = "A red mug stands beside a blue book."
    content = coco(2)
    for image in content["images"]:
        image["caption"] = caption
    content["annotations"] = [a for a in content["annotations"] if a["category_id"] == 2 or a["id"] % 10 == 0]
    for entry in content["annotations"]:
        entry["tokens_positive"] = [[24, 35]] if entry["category_id"] == 2 else [[0, 9]]
        entry["sam_mask"] = dict(masks.encode(masks.from_polygons(entry.pop("segmentation"), (30, 40))))
    data = read_own_data(write(content))
    assert (data.format, data.report.conversations) == ("grand", 2)
    assert data.report.names == {"a red mug": 2, "a blue book": 2}
    refs = [{"sentence": "blue book", "segmentation": polygon(*BOXES[0])}]
    entry = {"img_file_name": "1.png", "caption": caption, "refs": refs}
    (tmp_path / "dict.json").write_text(json.dumps({"7": entry, "8": entry}))
    assert read_own_data(tmp_path / "dict.json", tmp_path).report.conversations == 2


def test_one_bad_mask_of_a_phrase_leaves_the_others(write: Any, tmp_path: Path) -> None:
    write(coco(1))
    sound = dict(masks.encode(masks.from_polygons(polygon(*BOXES[0]), (30, 40))))
    groundings = {
        "two cups": {"token_positives": [0, 8], "rle_masks": [sound, {"size": [30, 40], "counts": "?"}]}
    }
    record = {"file_name": "1.png", "caption": "two cups", "groundings": groundings}
    (tmp_path / "g.json").write_text(json.dumps([record]))
    data = read_own_data(tmp_path / "g.json")
    assert (data.report.regions, data.report.dropped) == (1, {"unusable mask": 1})


def test_things_of_one_name_stand_from_left_to_right(write: Any) -> None:
    content = coco()
    content["annotations"].reverse()
    data = read_own_data(write(content))
    several = 0
    for seed in range(40):
        conversation = data.source.draw(np.random.default_rng(seed))
        for span in (span for turn in conversation.turns for span in turn.spans if len(span.rids) > 1):
            lefts = [conversation.region(rid).bbox[0] for rid in span.rids]  # type: ignore[index]
            several += 1
            assert lefts == sorted(lefts)
    assert several
