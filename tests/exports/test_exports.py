"""Exports: files that other programs read, and the same masks when they are read back."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from segue import masks
from segue.errors import InputError
from segue.exports import FORMATS, PicturedMasks, export, masks_of, read_export
from segue.exports.content import categories, slug
from segue.exports.reading import read_yolo
from segue.exports.tables import to_datasets, to_supervision

PHRASES = ["red mug", "the cat's ear", "a/b:c", "\u676f\u5b50", "x" * 90]


def content_of(images: list[tuple[str, list[tuple[str, np.ndarray, float]]]]) -> dict[str, Any]:
    """An answer's content, as far as exports read it."""
    groundings = [
        {"phrase": phrase, "image_index": k, "segmentation": masks.encode(mask), "score": score}
        for k, (_, placed) in enumerate(images)
        for phrase, mask, score in placed
    ]
    sizes = [placed[0][1].shape if placed else (4, 5) for _, placed in images]
    entries = [
        {"path": path, "height": h, "width": w} for (path, _), (h, w) in zip(images, sizes, strict=True)
    ]
    return {"images": entries, "groundings": groundings}


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    images = []
    for k in range(draw(st.integers(1, 3))):
        hw = (draw(st.integers(1, 12)), draw(st.integers(1, 12)))
        placed = [
            (draw(st.sampled_from(PHRASES)), draw(arrays(np.bool_, hw)), draw(st.floats(0, 1)))
            for _ in range(draw(st.integers(0, 4)))
        ]
        images.append((f"photos/{k}.jpg", placed))
    return content_of(images)


def told(images: list[PicturedMasks], *, score: bool = True, empty: bool = True) -> list[Any]:
    """What must come back: phrases, pixels and scores, image by image."""
    return [
        (
            image.path,
            [
                (p.phrase, p.rle["counts"], p.score if score else None)
                for p in image.masks
                if empty or masks.area(p.rle)
            ],
        )
        for image in images
    ]


@settings(max_examples=20, deadline=None)
@given(answers())
@pytest.mark.parametrize("form", ["png", "polygons", "coco", "coco-results"])
def test_masks_come_back(form: str, content: dict[str, Any]) -> None:
    holds_empty = form in ("png", "polygons")
    with tempfile.TemporaryDirectory() as folder:
        done = export(content, form, folder)
        assert all(path.is_file() for path in done.paths)
        back = told(read_export(folder, form))
    assert back == told(masks_of(content), empty=holds_empty)
    empty = sum(not masks.area(g["segmentation"]) for g in content["groundings"])
    assert holds_empty or any("empty" in line for line in done.lost) == bool(empty)


@settings(max_examples=20, deadline=None)
@given(answers())
def test_an_index_picture_loses_only_what_lies_below(content: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        done = export(content, "index-png", folder)
        back = read_export(folder, "index-png")
    for image, original in zip(back, masks_of(content), strict=True):
        above = np.zeros(original.hw, bool)
        order = sorted(range(len(original.masks)), key=lambda n: (masks.area(original.masks[n].rle), -n))
        for n in order:
            whole = original.masks[n].mask
            np.testing.assert_array_equal(image.masks[n].mask, whole & ~above)
            above |= whole
    areas = [masks.area(p.rle) for i in masks_of(content) for p in i.masks]
    kept = [masks.area(p.rle) for i in back for p in i.masks]
    assert any("pixels" in line for line in done.lost) == (areas != kept)


@settings(max_examples=20, deadline=None)
@given(answers())
def test_labelme_keeps_pixels_and_names(content: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        export(content, "labelme", folder)
        back = read_export(folder, "labelme")
    for image, original in zip(back, masks_of(content), strict=True):
        wanted = [(p.phrase.replace(":", " "), p.rle["counts"]) for p in original.masks if masks.area(p.rle)]
        assert [(p.phrase, p.rle["counts"]) for p in image.masks] == wanted
        assert image.hw == original.hw


@settings(max_examples=20, deadline=None)
@given(answers())
def test_yolo_keeps_pixels_and_names(content: dict[str, Any]) -> None:
    images = masks_of(content)
    with tempfile.TemporaryDirectory() as folder:
        export(content, "yolo", folder)
        back = read_yolo(folder, {Path(i.path).stem: i.hw for i in images})
    for image in images:
        found = back[Path(image.path).stem]
        for phrase in categories(images):
            wanted = np.zeros(image.hw, bool)
            for placed in image.masks:
                if placed.phrase == phrase:
                    wanted |= placed.mask
            drawn = np.zeros(image.hw, bool)
            for placed in found:
                if placed.phrase == phrase:
                    drawn |= placed.mask
            np.testing.assert_array_equal(drawn, wanted)


def example() -> dict[str, Any]:
    cat, ear = np.zeros((6, 8), bool), np.zeros((6, 8), bool)
    cat[1:5, 1:6], ear[1:3, 1:3] = True, True
    return content_of(
        [("a.jpg", [("cat", cat, 0.9), ("ear", ear, 0.5)]), ("b.jpg", [("cat", cat.T.copy(), 0.7)])]
    )


def test_cocos_own_tools_read_and_score_them(tmp_path: Path) -> None:
    export(example(), "coco-results", tmp_path)
    truth = COCO(str(tmp_path / "instances.json"))
    scores = COCOeval(truth, truth.loadRes(str(tmp_path / "results.json")), "segm")
    scores.evaluate()
    scores.accumulate()
    scores.summarize()
    assert scores.stats[0] == pytest.approx(1.0)
    assert [c["name"] for c in truth.loadCats(truth.getCatIds())] == ["cat", "ear"]


def test_supervision_takes_them() -> None:
    pytest.importorskip("supervision")
    images = masks_of(example())
    found = to_supervision(images, 0)
    assert list(found.data["class_name"]) == ["cat", "ear"]
    assert found.class_id.tolist() == [0, 1]
    np.testing.assert_array_equal(found.mask[1], images[0].masks[1].mask)
    np.testing.assert_array_equal(found.xyxy[0], [1, 1, 6, 5])
    assert len(to_supervision([PicturedMasks("a", (2, 2))], 0)) == 0


def test_a_table_has_a_row_for_each_mask(tmp_path: Path) -> None:
    done = export(example(), "datasets", tmp_path)
    rows = pyarrow.parquet.read_table(done.paths[0]).to_pylist()
    assert [row["phrase"] for row in rows] == ["cat", "ear", "cat"]
    first = {"size": [rows[0]["height"], rows[0]["width"]], "counts": rows[0]["counts"]}
    np.testing.assert_array_equal(masks.decode(first), masks_of(example())[0].masks[0].mask)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", ModuleType("datasets"))
    with pytest.raises(InputError, match="library datasets"):
        to_datasets(masks_of(example()))


def test_hugging_faces_library_takes_them() -> None:
    pytest.importorskip("datasets.arrow_dataset", reason="the extra data is not installed")
    assert to_datasets(masks_of(example()))["phrase"][:] == ["cat", "ear", "cat"]


def test_hostile_phrases_stay_in_the_folder(tmp_path: Path) -> None:
    mask = np.ones((2, 2), bool)
    content = content_of(
        [("a.jpg", [("../../etc/passwd", mask, 1.0), ("\x00", mask, 1.0), (" ", mask, 1.0)])]
    )
    for path in export(content, "png", tmp_path / "out").paths:
        assert path.resolve().parent == (tmp_path / "out").resolve()
    assert slug("../..") == "mask"


def test_an_index_picture_shows_its_palette(tmp_path: Path) -> None:
    export(example(), "index-png", tmp_path)
    picture = Image.open(tmp_path / "image_1_index.png")
    assert picture.mode == "P"
    assert picture.convert("RGB").getpixel((0, 0)) == (0, 0, 0)
    assert len(set(picture.convert("RGB").getdata())) == 3


def test_too_many_masks_for_an_index_picture(tmp_path: Path) -> None:
    mask = np.ones((2, 2), bool)
    with pytest.raises(InputError, match="so many masks"):
        export(content_of([("a.jpg", [("x", mask, 1.0)] * 256)]), "index-png", tmp_path)


@pytest.mark.parametrize("form", ["labelme", "yolo"])
def test_two_images_of_one_name_are_refused(form: str, tmp_path: Path) -> None:
    mask = np.ones((2, 2), bool)
    with pytest.raises(InputError, match="same name"):
        export(content_of([("a/1.jpg", [("x", mask, 1.0)]), ("b/1.jpg", [("y", mask, 1.0)])]), form, tmp_path)


def test_unknown_formats_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such format"):
        export(example(), "tiff", tmp_path)
    with pytest.raises(InputError, match="not read back"):
        read_export(tmp_path, "yolo")
    (tmp_path / "polygons.json").write_text("[")
    with pytest.raises(InputError, match="cannot be read"):
        read_export(tmp_path, "polygons")


def test_every_format_says_what_it_cannot_hold(tmp_path: Path) -> None:
    for form in FORMATS:
        done = export(example(), form, tmp_path / form)
        assert "the text of the answer" in done.lost
        assert json.dumps(done.lost)
