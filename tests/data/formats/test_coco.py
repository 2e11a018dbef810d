"""The COCO / PACO reader on small files that hold every trap of the format."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from segue import masks
from segue.data.formats.coco import read_coco
from segue.data.formats.coco_masks import to_rle
from segue.data.formats.names import clean_name
from segue.errors import RecordError

H, W = 12, 9
CATEGORIES = [
    {"id": 1, "name": "car_(automobile)", "supercategory": "OBJECT"},
    {"id": 7, "name": "car_(automobile):wheel", "supercategory": "PART"},
    {"id": 8, "name": "dog", "supercategory": "OBJECT"},
]


def block(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((H, W), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def annotation(
    identifier: int, segmentation: Any, category: int = 1, image: int = 1, **more: Any
) -> dict[str, Any]:
    return {
        "id": identifier,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        **more,
    }


@pytest.fixture
def write(tmp_path: Path) -> Any:
    Image.new("RGB", (W, H)).save(tmp_path / "a.jpg")

    def _write(annotations: list[Any], images: list[Any] | None = None, **more: Any) -> Path:
        images = [{"id": 1, "file_name": "a.jpg", "height": H, "width": W}] if images is None else images
        path = tmp_path / "instances.json"
        path.write_text(
            json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES, **more})
        )
        return path

    return _write


def test_every_segmentation_form_gives_the_same_mask(write: Any) -> None:
    mask = block(2, 3, 6, 8)
    compressed = masks.encode(mask)
    runs = [3 * H + 2] + [4, H - 4] * 4 + [4, H - 6 + H]
    polygon = [3, 2, 8, 2, 8, 6, 3, 6]
    forms = [
        compressed,
        {"size": [H, W], "counts": runs},
        [polygon],
        polygon,
        [polygon, [1, 2, 3, 4], [1] * 7],
    ]
    data = read_coco(write([annotation(k + 1, form) for k, form in enumerate(forms)]))
    assert len(data) == 1
    assert data.report.dropped == []
    assert len(data.images[0].regions) == len(forms)
    for region in data.images[0].regions:
        np.testing.assert_array_equal(region.mask, mask)
        assert region.area == 20
        assert isinstance(region.rle["counts"], str)


def test_parts_get_their_object_and_clean_names(write: Any) -> None:
    car, other, wheel = (
        masks.encode(block(0, 0, 6, 6)),
        masks.encode(block(6, 0, 12, 9)),
        masks.encode(block(5, 0, 7, 1)),
    )
    data = read_coco(
        write(
            [
                annotation(20, wheel, category=7, obj_ann_id=11),  # a part may come before its object
                annotation(10, car, obj_ann_id=10),
                annotation(11, other, obj_ann_id=11),
            ]
        )
    )
    image = data.images[0]
    assert image.hw == (H, W)
    assert [(r.kind, r.name, r.parent) for r in image.regions] == [
        ("part", "wheel", "11"),
        ("object", "car", None),
        ("object", "car", None),
    ]
    assert image.regions[0].source_label == "car_(automobile):wheel"
    assert [r.rid for r in image.parts_of("11")] == ["20"]
    assert [r.rid for r in image.objects] == ["10", "11"]
    assert (data.report.images, data.report.objects, data.report.parts) == (1, 2, 1)


@pytest.mark.parametrize("stated", [None, 20, 99, 12])  # missing, itself, absent, an object of another class
def test_part_with_a_wrong_parent_goes_to_the_largest_overlap(write: Any, stated: int | None) -> None:
    data = read_coco(
        write(
            [
                annotation(10, masks.encode(block(0, 0, 6, 6))),
                annotation(11, masks.encode(block(6, 0, 12, 9))),
                annotation(12, masks.encode(block(5, 0, 9, 2)), category=8),
                annotation(20, masks.encode(block(5, 0, 9, 2)), category=7, obj_ann_id=stated),
            ]
        )
    )
    part = data.images[0].regions[-1]
    assert part.parent == "11"
    assert [entry.record for entry in data.report.repaired] == ["annotation 20"]


def test_part_without_any_parent_is_dropped_and_reported(write: Any) -> None:
    apart = annotation(20, masks.encode(block(8, 8, 9, 9)), category=7)
    data = read_coco(write([annotation(10, masks.encode(block(0, 0, 3, 3))), apart]))
    assert len(data.images[0].regions) == 1
    assert data.report.counts() == {"part without parent": 1}
    assert data.report.dropped[0].record == "annotation 20"


_GOOD = masks.encode(block(0, 0, 3, 3))


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ({"size": [W, H], "counts": _GOOD["counts"]}, "mask size differs from image size"),
        ({"size": [H, W], "counts": _GOOD["counts"][:-1]}, "damaged run lengths"),
        ({"size": [H, W], "counts": "\x01\x02"}, "damaged run lengths"),
        ({"size": [H, W], "counts": [5, 5]}, "damaged run lengths"),
        ({"size": [H, W], "counts": [-1, H * W + 1]}, "damaged run lengths"),
        ({"size": [H, W]}, "damaged run lengths"),
        ({"counts": [H * W]}, "mask size differs from image size"),
        ({"size": [H, W], "counts": [H * W]}, "empty mask"),
        ([[1, 2, 3, 4]], "no usable polygon"),
        ([[1, 2, 3, 4, 5]], "no usable polygon"),
        ([[1, 2, "x", 4, 5, 6]], "no usable polygon"),
        ([[50, 50, 60, 50, 60, 60]], "empty mask"),
        ([], "no segmentation"),
        (None, "no segmentation"),
        ("rubbish", "no segmentation"),
    ],
)
def test_broken_segmentation_is_dropped_with_its_reason(write: Any, segmentation: Any, reason: str) -> None:
    data = read_coco(write([annotation(1, _GOOD), annotation(2, segmentation)]))
    assert [region.rid for region in data.images[0].regions] == ["1"]
    assert data.report.counts() == {reason: 1}
    assert "annotation 2" in str(data.report)
    with pytest.raises(RecordError, match=reason):
        to_rle(segmentation, (H, W))


def test_other_bad_records_are_dropped_with_their_reasons(write: Any) -> None:
    images = [
        {"id": 1, "file_name": "a.jpg", "height": H, "width": W},
        {"id": 2, "file_name": "missing.jpg", "height": H, "width": W},
        {
            "id": 3,
            "file_name": "elsewhere/a.jpg",
            "height": H,
            "width": W,
        },  # found by its bare name, but unlabelled
        {"id": 4, "file_name": "a.jpg"},
        {"id": 5, "height": H, "width": W},
        {"id": 6, "file_name": "a.jpg", "height": H, "width": W},
    ]
    annotations = [
        annotation(1, _GOOD),
        annotation(1, _GOOD),
        annotation(2, _GOOD, category=99),
        annotation(3, _GOOD, iscrowd=1),
        annotation(4, _GOOD, image=77),
        annotation(5, _GOOD, image=2),
        annotation(6, None, image=6),
        {"image_id": 1, "category_id": 1, "segmentation": _GOOD},
    ]
    report = read_coco(write(annotations, images)).report
    # The fourth image states no size: its header does.
    assert (report.images, report.objects, report.parts) == (1, 2, 0)
    assert report.counts() == {
        "annotation listed twice": 1,
        "unknown category": 1,
        "crowd region": 1,
        "image not in the file": 1,
        "image file not found": 1,
        "image without annotation": 2,
        "image without file_name or id": 1,
        "no segmentation": 1,
        "image without usable annotation": 1,
    }


def test_files_need_not_exist_when_not_checked(write: Any) -> None:
    path = write([annotation(1, _GOOD)], [{"id": 1, "file_name": "far/b.jpg", "height": H, "width": W}])
    assert len(read_coco(path)) == 0
    assert read_coco(path, "photos", check_files=False).images[0].path == Path("photos/far/b.jpg")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"images": [], "annotations": []}', '{"images": 3}', "\x00"]
)
def test_a_file_that_is_not_coco_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(RecordError) as caught:
        read_coco(path)
    assert str(path) in str(caught.value)
    with pytest.raises(RecordError, match="not found"):
        read_coco(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("car_(automobile)", "car"),
        ("pool_table", "pool table"),
        ("Dog", "dog"),
        ("mouse_(computer_equipment)", "mouse"),
    ],
)
def test_clean_name(raw: str, clean: str) -> None:
    assert clean_name(raw) == clean


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_any_mask_survives_both_run_length_forms(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    mask[0, 0] = True
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat.astype(int))) + 1
    runs = [
        0,
        *np.diff([0, *changes.tolist(), flat.size]).tolist(),
    ]  # the first pixel is set: no background first
    for counts in (masks.encode(mask)["counts"], runs):
        rle = to_rle({"size": [height, width], "counts": counts}, (height, width))
        np.testing.assert_array_equal(coco_mask.decode(rle).astype(bool), mask)
