"""The real annotations in `../shared`, read whole, against a reading of the same files by scipy, PIL and
pycocotools that shares no code and no class list with the sources."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.sources import open_source


@pytest.fixture(scope="module")
def fixtures(shared: Path) -> Path:
    return shared / "data" / "fixtures"


@pytest.fixture(scope="module")
def class_lists(shared: Path) -> Path:
    return shared / "data" / "classes"


@cache
def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def decoded(region: AnnotatedRegion) -> np.ndarray[Any, Any]:
    return np.asarray(coco_mask.decode(region.rle)).astype(bool)


def objects_with_parts(image: AnnotatedImage) -> list[tuple[AnnotatedRegion, dict[str, AnnotatedRegion]]]:
    return [(o, {part.name: part for part in image.parts_of(o.rid)}) for o in image.objects]


# ---- Pascal-Part -----------------------------------------------------------------------------------------


@cache
def mat_objects(path: Path) -> list[tuple[str, np.ndarray[Any, Any], list[tuple[str, np.ndarray[Any, Any]]]]]:
    """(class, mask, [(raw part name, mask)]) of one .mat."""
    loadmat = pytest.importorskip("scipy.io").loadmat
    anno = loadmat(str(path))["anno"][0, 0]
    found = []
    for k in range(anno["objects"].shape[1]):
        thing = anno["objects"][0, k]
        parts = thing["parts"]
        cells = [parts[0, j] for j in range(parts.shape[1])] if parts.size else []
        pieces = [(str(cell["part_name"][0]), cell["mask"].astype(bool)) for cell in cells]
        found.append((str(thing["class"][0]), thing["mask"].astype(bool), pieces))
    return found


def reference_name(vocabulary: str, class_lists: Path, owner: str, raw: str) -> str | None:
    """The part's name by the published lists themselves."""
    if vocabulary == "raw":
        return re.sub(r"_\d+$", "", raw)
    owner = "diningtable" if owner == "table" else owner
    merged = load(class_lists / "pascal_part_mat_to_116.json")["mapping"][owner]
    name = str(merged[raw] if raw in merged else merged[re.sub(r"_\d+$", "_N", raw)])
    if vocabulary == "116":
        return name
    known = {entry["name"] for entry in load(class_lists / "pascal_part_vlpart_93.json")["categories"]}
    owner = "potted plant" if owner == "pottedplant" else owner
    name = {"lower arm": "arm", "upper arm": "arm", "chainwheel": "wheel"}.get(name, name)
    return name if f"{owner}:{name}" in known else None


@pytest.mark.parametrize("vocabulary", ["93", "116", "raw"])
def test_pascal_part(fixtures: Path, class_lists: Path, vocabulary: str) -> None:
    root = fixtures / "pascal_part"
    counts = Counter[str]()
    for split in ("train", "val"):
        source = open_source("pascal_part", root, split=split, vocabulary=vocabulary, all_objects=True)
        listed = (root / "VOCdevkit/VOC2010/ImageSets/Main" / f"{split}.txt").read_text().split()
        images = list(source)
        assert [image.image_id for image in images] == listed
        for image in images:
            expected = mat_objects(root / "Annotations_Part" / f"{image.image_id}.mat")
            found = objects_with_parts(image)
            assert [o.source_label for o, _ in found] == [label for label, _, _ in expected]
            for (region, parts), (label, mask, pieces) in zip(found, expected, strict=True):
                assert np.array_equal(decoded(region), mask)
                united: dict[str, np.ndarray[Any, Any]] = {}
                for raw, piece in pieces:
                    name = reference_name(vocabulary, class_lists, label, raw)
                    if name is not None:
                        united[name] = united.get(name, np.zeros_like(piece)) | piece
                assert set(parts) == set(united)
                for name, piece in united.items():
                    assert np.array_equal(decoded(parts[name]), piece)
                counts["raw parts"] += len(pieces)
            counts["objects"] += len(found)
        assert source.report.objects == sum(len(image.objects) for image in images)
        assert not set(source.report.dropped) - {"part that the vocabulary leaves out"}
    # The facts: 53 objects with 398 parts, some without any.
    assert counts == {"objects": 53, "raw parts": 398}


def test_pascal_parts_overlap_and_lie_in_their_object(fixtures: Path) -> None:
    """What a single label map could not hold."""
    source = open_source("pascal_part", fixtures / "pascal_part", vocabulary="raw", all_objects=True)
    inside_head = 0
    for image in source:
        for region, parts in objects_with_parts(image):
            whole = decoded(region)
            assert not any((decoded(part) & ~whole).any() for part in parts.values())
            if {"head", "nose"} <= set(parts):
                nose = decoded(parts["nose"])
                inside_head += int((nose & decoded(parts["head"])).sum() > 0.9 * nose.sum())
    assert inside_head >= 5
    assert "part reaches beyond its object" not in source.report.noticed


# ---- Pascal-Part-116 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "val"])
def test_pascal_part116(fixtures: Path, class_lists: Path, split: str) -> None:
    root = fixtures / "PascalPart116"
    published = load(class_lists / "pascal_part_116.json")
    source = open_source("pascal_part116", root, split=split, all_objects=True)
    images = {image.image_id: image for image in source}
    files = sorted((root / "annotations_detectron2_obj" / split).glob("*.png"))
    assert list(images) == [file.stem for file in files]
    for file in files:
        of_class = np.array(Image.open(file))
        of_part = np.array(Image.open(root / "annotations_detectron2_part" / split / file.name))
        expected: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
        for entry in published["objects"]:
            if (inside := of_class == entry["id"]).any():
                pieces = {
                    part["part"]: inside & (of_part == part["id"])
                    for part in published["parts"]
                    if part["object"] == entry["name"]
                }
                expected[entry["name"]] = {
                    "": inside,
                    **{name: piece for name, piece in pieces.items() if piece.any()},
                }
        found = {
            o.name.replace(" ", ""): {"": o, **parts} for o, parts in objects_with_parts(images[file.stem])
        }
        assert {name: set(parts) for name, parts in found.items()} == {
            name: set(parts) for name, parts in expected.items()
        }
        for name, parts in expected.items():
            for part, mask in parts.items():
                assert np.array_equal(decoded(found[name][part]), mask)
    assert source.report.dropped == {}
    assert not source.has_instances


# ---- ADE20K-Part-234 -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("split", "folder"), [("train", "training"), ("val", "validation")])
def test_ade20k_part(fixtures: Path, class_lists: Path, split: str, folder: str) -> None:
    root = fixtures / "ADE20KPart234"
    published = load(class_lists / "ade20k_part_234.json")
    data = load(root / f"ade20k_instance_{split}.json")
    source = open_source("ade20k_part", root, split=split)
    images = {image.image_id: image for image in source}
    assert set(images) == {Path(entry["file_name"]).stem for entry in data["images"]}
    regions = {(image.image_id, region.rid): region for image in images.values() for region in image.regions}
    parts_seen = 0
    for entry in data["images"]:
        stem = Path(entry["file_name"]).stem
        with Image.open(root / "annotations_detectron2_part" / folder / f"{stem}.png") as opened:
            numbers = np.array(opened)
        assert numbers.dtype == np.uint16
        assert numbers.max() == 65535
        for a in (a for a in data["annotations"] if a["image_id"] == entry["id"]):
            region = regions.pop((stem, str(a["id"])))
            inside = coco_mask.decode(a["segmentation"]).astype(bool)
            assert np.array_equal(decoded(region), inside)
            assert region.name == published["objects"][a["category_id"]]["name"]
            parts = images[stem].parts_of(region.rid)
            assert {published["parts"][number]["part"] for number in a["part_category_id"]} == {
                part.name for part in parts
            }
            for number in a["part_category_id"]:
                part = regions.pop((stem, f"{region.rid}p{number}"))
                assert part.source_label == published["parts"][number]["name"]
                assert np.array_equal(decoded(part), inside & (numbers == number))
                parts_seen += 1
    assert not regions
    assert parts_seen == source.report.parts > 0
    assert source.report.dropped == {}


# ---- PACO-LVIS -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_paco_lvis(fixtures: Path, split: str, capsys: pytest.CaptureFixture[str]) -> None:
    from pycocotools.coco import COCO

    root = fixtures / "paco_lvis"
    coco = COCO(str(root / "annotations" / f"paco_lvis_v1_{split}.json"))
    capsys.readouterr()
    source = open_source("paco_lvis", root, split=split)
    images = {image.image_id: image for image in source}
    assert set(images) == {str(number) for number in coco.getImgIds()}
    for image in images.values():
        entry = coco.imgs[int(image.image_id)]
        assert image.path.name == Path(entry["file_name"]).name
        assert (image.height, image.width) == (entry["height"], entry["width"])
        with Image.open(image.path) as opened:
            assert opened.size == (image.width, image.height)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=int(image.image_id)))
        assert len(image.regions) == len(annotations)
        by_rid = {region.rid: region for region in image.regions}
        for a in annotations:
            region = by_rid[str(a["id"])]
            assert np.array_equal(decoded(region), coco.annToMask(a).astype(bool))
            label = coco.cats[a["category_id"]]["name"]
            assert region.source_label == label
            assert region.kind == ("part" if ":" in label else "object")
            if ":" in label:
                assert a["id"] != a["obj_ann_id"]
                assert region.parent == str(a["obj_ann_id"])
                assert region.name == label.split(":")[1].replace("_", " ")
    assert source.report.dropped == {}
    assert source.report.notes == []
    assert len(source.vocabulary()) == 73


def test_car_parts_through_the_index_as_when_read_at_once(shared: Path) -> None:
    from segue.data.formats.coco import read_coco

    root = shared / "data" / "car_parts"
    streamed = list(open_source("coco", root, split="val"))
    assert streamed == list(read_coco(root / "val.json", root).images)
    assert len(streamed) == 46
