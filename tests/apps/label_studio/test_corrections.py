"""From predictions over an annotator's corrections to what `segue train --data` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segue
from segue import masks
from segue.apps.label_studio.corrections import read_export
from segue.apps.label_studio.label_config import read_config
from segue.apps.label_studio.regions import Place, regions_of
from segue.cli import main
from segue.errors import InputError
from segue.records import Grounding
from serving import two


def block(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((40, 60), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


RING = block(2, 2, 30, 30) & ~block(10, 10, 20, 20) | block(35, 40, 39, 50)
"""A mask with a hole, in two pieces."""


def regions(config: str, shape: str, *drawn: tuple[int, str, np.ndarray]) -> list[dict[str, Any]]:
    """What the backend would have sent: (picture, label, mask)."""
    read = read_config(config, shape)
    place = [Place(read.images[0], number, (40, 60)) for number in range(3)]
    return [
        region
        for number, label, mask in drawn
        for region in regions_of(
            Grounding(label, (0, 3), number, mask, 0.5, [0.0] * 4), place[number], read.controls["img"], label
        )
    ]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, picture in zip("abc", (*two(), two()[0]), strict=True):
        picture.save(folder / f"{name}.png")
    return folder


def export(path: Path, *tasks: dict[str, Any]) -> Path:
    path.write_text(json.dumps(list(tasks)))
    return path


def annotated(number: int, result: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    images = [f"/data/upload/3/1a2b3c4d-{name}.png" for name in "abc"]
    return {
        "id": number,
        "data": {"images": images},
        "annotations": [{"id": number, "result": result, **fields}],
    }


@pytest.mark.parametrize("shape", ["brush", "polygon"])
def test_masks_come_back_as_own_data(config: str, shape: str, photos: Path, tmp_path: Path) -> None:
    result = regions(
        config, shape, (0, "mug", RING), (1, "lamp", block(5, 5, 9, 50)), (1, "mug", block(20, 0, 40, 9))
    )
    assert len(result) == (3 if shape == "brush" else 4)
    choice = {"id": "z", "type": "choices", "to_name": "img", "value": {"choices": ["good"]}}
    path = export(tmp_path / "export.json", annotated(1, [*result, choice]))
    assert main(["data", "label-studio", str(path), "--out", str(tmp_path / "corrected.json")]) == 0
    data = segue.read_data(tmp_path / "corrected.json", photos)
    assert data.format == "coco"
    assert "2 images, 3 regions" in data.report.lines()[0]
    content = json.loads((tmp_path / "corrected.json").read_text())
    assert len(content["images"]) == 3, "a picture without a region is listed too"
    names = {category["id"]: category["name"] for category in content["categories"]}
    found = [(names[a["category_id"]], masks.decode(a["segmentation"])) for a in content["annotations"]]
    wanted = [("mug", RING), ("lamp", block(5, 5, 9, 50)), ("mug", block(20, 0, 40, 9))]
    assert [name for name, _ in found] == [name for name, _ in wanted]
    assert all(np.array_equal(mask, other) for (_, mask), (_, other) in zip(found, wanted, strict=True))


@pytest.mark.slow
def test_label_studios_own_converter_reads_the_regions(config: str, tmp_path: Path) -> None:
    converter = pytest.importorskip("label_studio_sdk.converter.converter")
    # Of lists of images it exports no masks at all, which is what `segue data label-studio` is for.
    assert not {"BRUSH_TO_PNG", "COCO"} & set(converter.Converter(config, str(tmp_path)).supported_formats)
    single = """<View><Image name="img" value="$image"/>
    <BrushLabels name="brush" toName="img"><Label value="mug"/><Label value="lamp"/></BrushLabels></View>"""
    wanted = {"mug": RING, "lamp": block(5, 5, 9, 50)}
    drawn = regions(config, "brush", *((0, name, mask) for name, mask in wanted.items()))
    task = {"id": 1, "data": {"image": "a.png"}, "annotations": [{"id": 2, "result": drawn}]}
    own = converter.Converter(single, str(tmp_path))
    assert "BRUSH_TO_NUMPY" in own.supported_formats
    path = export(tmp_path / "export.json", task)
    (tmp_path / "out").mkdir()
    own.convert(str(path), str(tmp_path / "out"), "BRUSH_TO_NUMPY", is_dir=False)
    found = {file.stem.split("-")[-2]: np.load(file) == 255 for file in (tmp_path / "out").glob("*.npy")}
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[name], mask) for name, mask in wanted.items())


def test_what_is_left_out_is_counted(config: str, tmp_path: Path) -> None:
    good, late = regions(config, "brush", (0, "mug", RING), (0, "lamp", RING))
    box = {"id": "b", "type": "rectanglelabels", "to_name": "img", "item_index": 0, "original_width": 60,
           "original_height": 40, "value": {"x": 1, "rectanglelabels": ["mug"]}}  # fmt: skip
    broken = good | {"id": "c", "value": good["value"] | {"rle": [1, 2]}}
    turned, nowhere = good | {"id": "d", "image_rotation": 90}, good | {"id": "e", "item_index": 9}
    task = annotated(1, [good, box, broken, turned, nowhere], updated_at="2026-01-01")
    task["annotations"].append({"id": 2, "result": [late], "updated_at": "2025-01-01"})
    task["annotations"].append({"id": 3, "result": [late], "was_cancelled": True})
    path = export(tmp_path / "e.json", task, annotated(2, [], was_cancelled=True), {"id": 3, "data": {}})
    content, report = read_export(path)
    assert [category["name"] for category in content["categories"]] == ["mug"]
    assert dict(report.dropped) == {
        "another annotation of a task": 1,
        "region that is no mask": 1,
        "damaged brush": 1,
        "region of a turned picture": 1,
        "region of an unknown picture: --config tells which field it is in": 1,
        "skipped task": 1,
        "task without annotation": 1,
    }
    task["annotations"][1]["ground_truth"] = True
    content, _ = read_export(export(path, task))
    assert [category["name"] for category in content["categories"]] == ["lamp"]


def test_labels_may_stand_in_a_result_of_their_own(config: str, tmp_path: Path) -> None:
    (region,) = regions(config, "brush", (1, "mug", RING))
    plain = {k: v for k, v in region["value"].items() if k != "brushlabels"}
    brush = region | {"type": "brush", "value": plain}
    label = region | {"type": "labels", "value": {"labels": ["mug", "cup"]}}
    content, report = read_export(export(tmp_path / "e.json", annotated(1, [brush, label])))
    assert [category["name"] for category in content["categories"]] == ["mug", "cup"]
    assert not report.dropped


def test_several_fields_of_pictures_need_the_configuration(config: str, tmp_path: Path) -> None:
    two_lists = config.replace(
        "</View>", '<Image name="old" valueList="$old"/><Image name="one" value="$one"/></View>'
    )
    result = [r | {"to_name": "img"} for r in regions(config, "brush", (0, "mug", RING))]
    task = annotated(1, result)
    task["data"] |= {"old": ["x.png", "y.png"], "one": "z.png"}
    path = export(tmp_path / "e.json", task)
    with pytest.raises(InputError, match="no mask") as refused:
        read_export(path)
    assert "--config" in str(refused.value.found)
    content, _ = read_export(path, read_config(two_lists))
    assert content["images"][0]["file_name"].endswith("a.png")


def test_kept_annotations_are_an_export_too(config: str, photos: Path, tmp_path: Path) -> None:
    first, second = regions(config, "brush", (0, "mug", RING), (1, "lamp", RING))
    kept = tmp_path / "kept"
    kept.mkdir()
    for number, region in ((1, first), (2, second)):
        task = annotated(number, [region])
        (kept / f"annotation-{number}.json").write_text(json.dumps(task))
    # As Label Studio's target storages write them: the task within the annotation.
    stored = {"id": 4, "result": [second], "task": {"id": 9, "data": {"image": "c.png"}}}
    stored["result"] = [{k: v for k, v in second.items() if k != "item_index"}]
    (kept / "stored.json").write_text(json.dumps(stored))
    content, report = read_export(kept)
    assert (report.images, report.regions) == (4, 3)
    (tmp_path / "c.json").write_text(json.dumps(content))
    assert segue.read_data(tmp_path / "c.json", photos).report.regions == 3


@pytest.mark.parametrize("content", ["{", "[3]", '[{"image": "a.png", "tag": []}]', "[]"])
def test_what_is_no_export_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text(content)
    with pytest.raises(segue.SegueError):
        read_export(tmp_path / "e.json")
    with pytest.raises(InputError, match="no export"):
        read_export(tmp_path / "missing.json")
