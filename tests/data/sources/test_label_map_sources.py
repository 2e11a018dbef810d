"""ADE20K-Part-234 and Pascal-Part-116: what label maps can get wrong, on files written here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segue.data.sources import open_source
from segue.data.sources.taxonomy import NumberedClasses
from segue.errors import InputError, RecordError
from source_layouts import H, W, annotation, block, dump, label_map, photo

ADE = NumberedClasses.named("ade20k_part_234")
OBJECT = {name: number for number, name in ADE.objects.items()}
PART = {f"{owner}:{part}": number for number, (owner, part) in ADE.parts.items()}
CATEGORIES = [{"id": number, "name": name} for number, name in ADE.objects.items()]


def painted(*pieces: tuple[int, np.ndarray[Any, Any]], none: int = 65535) -> np.ndarray[Any, Any]:
    """A label map with these numbers, later ones on top."""
    numbers = np.full((H, W), none, np.uint16 if none > 255 else np.uint8)
    for number, mask in pieces:
        numbers[mask] = number
    return numbers


def ade(root: Path, images: dict[str, tuple[list[dict[str, Any]], np.ndarray[Any, Any] | None]]) -> Path:
    """Write the training split: file name -> (annotations without ids, part map)."""
    entries, annotations = [], []
    for number, (name, (found, numbers)) in enumerate(images.items(), start=1):
        photo(root / "images/training" / f"{name}.jpg")
        entries.append({"id": number, "file_name": f"{name}.jpg", "height": H, "width": W})
        for one in found:
            annotations.append({**one, "id": len(annotations) + 1, "image_id": number})
        folder = root / "annotations_detectron2_part/training"
        folder.mkdir(parents=True, exist_ok=True)
        if numbers is not None:
            label_map(folder / f"{name}.png", numbers)
    content = {"images": entries, "annotations": annotations, "categories": CATEGORIES}
    dump(root / "ade20k_instance_train.json", content)
    return root


def person(
    top: int, left: int, *, arm_above: bool = False, arm: str = "person:arm", head: str = "person:head"
) -> tuple[dict[str, Any], list[tuple[int, np.ndarray[Any, Any]]]]:
    upper, lower = block(top, left, top + 4, left + 6), block(top + 6, left, top + 10, left + 6)
    pieces = [(PART[arm], upper if arm_above else lower), (PART[head], lower if arm_above else upper)]
    listed = [number for number, _ in pieces]
    mask = block(top, left, top + 11, left + 6)
    return annotation(0, 0, OBJECT["person"], mask, part_category_id=listed), pieces


def test_number_zero_is_an_arm_and_65535_is_nothing(tmp_path: Path) -> None:
    one, pieces = person(1, 2)
    root = ade(tmp_path, {"ADE_frame_00000001": ([one], painted(*pieces))})
    source = open_source("ade20k_part", root)
    (image,) = source
    assert image.image_id == "ADE_frame_00000001"
    assert [(r.kind, r.name, r.source_label) for r in image.regions] == [
        ("object", "person", "person"),
        ("part", "arm", "person's arm"),
        ("part", "head", "person's head"),
    ]
    for region, (_, mask) in zip(image.regions[1:], pieces, strict=True):
        np.testing.assert_array_equal(region.mask, mask)
    assert image.absent == frozenset()
    assert source.report.noticed == {}


def test_a_part_belongs_to_the_objects_of_its_class_that_it_lies_in(tmp_path: Path) -> None:
    cars = [block(2, 0, 12, 14), block(2, 16, 12, 32)]
    wheels = block(10, 0, 12, 32)
    headlight, lamp = block(4, 12, 6, 20), block(14, 4, 20, 8)
    root = ade(
        tmp_path,
        {
            "a": (
                [annotation(0, 0, OBJECT["car"], mask) for mask in cars]
                + [annotation(0, 0, OBJECT["lamp"], lamp, part_category_id=[PART["lamp:shade"]])],
                painted(
                    (PART["car:wheel"], wheels), (PART["bus:headlight"], headlight), (PART["lamp:base"], lamp)
                ),
            )
        },
    )
    source = open_source("ade20k_part", root)
    (image,) = source
    found = {(r.parent, r.name): r for r in image.regions if r.kind == "part"}
    assert set(found) == {("1", "wheel"), ("2", "wheel"), ("3", "base")}
    for number, car in enumerate(cars, start=1):
        np.testing.assert_array_equal(found[str(number), "wheel"].mask, wheels & car)
    assert source.report.noticed == {
        "parts listed for an object differ from its part map": 1,
        "image with part pixels outside every listed object, left out": 1,
    }


def test_broken_ade_images_are_dropped_with_their_reason(tmp_path: Path) -> None:
    one, pieces = person(1, 2)
    whole = painted(*pieces)
    root = ade(
        tmp_path,
        {
            "good": ([one], whole),
            "no_map": ([one], None),
            "converted": ([one], np.where(whole == 65535, 255, whole).astype(np.uint8)),
            "cut": ([one], whole[:-1]),
            "rubbish": ([one], whole),
            "unknown_numbers": ([one], painted(*pieces, (9000, block(2, 3, 3, 4)))),
            "turned": ([one], whole),
            "crowd": ([{**one, "iscrowd": 1}], whole),
        },
    )
    maps = root / "annotations_detectron2_part/training"
    (maps / "rubbish.png").write_bytes(b"no picture")
    (maps / "._good.png").write_bytes(b"\0")
    photo(root / "images/training/turned.jpg", (W, H))
    source = open_source("ade20k_part", root)
    assert [image.image_id for image in source] == ["good", "unknown_numbers"]
    assert source.report.dropped == {
        "label map not found": 1,
        "label map of another type": 1,
        "label map size differs from image size": 1,
        "label map cannot be read": 1,
        "image size differs from its record": 1,
        "crowd region": 1,
        "image without usable annotation": 1,
    }
    assert source.report.noticed["image with numbers of no known part in its part map, left out"] == 1
    assert all(path.name != "._good.png" for path in source.annotation_files())


def test_part_maps_numbered_in_another_order_are_refused(tmp_path: Path) -> None:
    """In the list that goes around, 0 is the head and 5 the neck: 0 then lies above 5."""
    right = [person(1, 8 * k) for k in range(4)]
    swapped = [person(12, 8 * k, arm_above=True) for k in range(4)]
    upright = {"a": ([p[0] for p in right], painted(*(x for p in right for x in p[1])))}
    handstands = {
        f"b{k}": ([p[0] for p in swapped], painted(*(x for p in swapped for x in p[1]))) for k in range(2)
    }
    assert len(list(open_source("ade20k_part", ade(tmp_path / "few", {**upright})))) == 1
    mixed = ade(tmp_path / "mixed", {**upright, "b": handstands["b0"]})
    assert len(list(open_source("ade20k_part", mixed))) == 2
    with pytest.raises(RecordError, match="in another order") as caught:
        list(open_source("ade20k_part", ade(tmp_path / "swapped", handstands)))
    assert caught.value.found == "0 lies higher in 8 of 8 persons"


def test_ade_layout_errors(tmp_path: Path) -> None:
    one, pieces = person(1, 2)
    root = ade(tmp_path / "data" / "ADE20KPart234", {"a": ([one], painted(*pieces))})
    with pytest.raises(InputError) as caught:
        open_source("ade20k_part", tmp_path / "data")
    assert f"did you mean {root}?" in str(caught.value)
    with pytest.raises(InputError) as caught:
        open_source("ade20k_part", root, split="val")
    assert "ade20k_instance_val.json, images/validation" in caught.value.expected
    assert "ade20k_instance_train.json" in caught.value.found


# ---- Pascal-Part-116 -------------------------------------------------------------------------------------

PASCAL = NumberedClasses.named("pascal_part_116")
CAT, CHAIR = 7, 8
EAR, TAIL = (
    next(number for number, (owner, part) in PASCAL.parts.items() if (owner, part) == ("cat", name))
    for name in ("ear", "tail")
)


def pascal116(
    root: Path, images: dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]], split: str = "train"
) -> Path:
    for name, (of_class, of_part) in images.items():
        photo(root / "images" / split / f"{name}.jpg")
        label_map(root / "annotations_detectron2_obj" / split / f"{name}.png", of_class)
        label_map(root / "annotations_detectron2_part" / split / f"{name}.png", of_part)
    return root


def test_one_region_per_class_and_palettes_are_numbers(tmp_path: Path) -> None:
    cats = block(2, 2, 10, 10) | block(2, 20, 10, 30)
    ears = block(2, 2, 4, 4) | block(2, 20, 4, 22)
    of_class, of_part = (
        painted((CAT, cats), (CHAIR, block(20, 0, 24, 9)), none=255),
        painted((EAR, ears), none=255),
    )
    root = pascal116(tmp_path, {"2008_000001": (of_class, of_part)})
    path = root / "annotations_detectron2_obj/train/2008_000001.png"
    with_palette = Image.fromarray(of_class)
    with_palette.putpalette([k // 3 for k in range(768)])
    with_palette.save(path)
    (root / "annotations_detectron2_obj/train/._2008_000001.png").write_bytes(b"\0")
    source = open_source("pascal_part116", root)
    (image,) = source
    assert [(r.rid, r.name, r.parent) for r in image.regions] == [
        (f"o{CAT}", "cat", None),
        (f"p{EAR}", "ear", f"o{CAT}"),
    ]
    np.testing.assert_array_equal(image.regions[0].mask, cats)
    np.testing.assert_array_equal(image.regions[1].mask, ears)
    assert image.absent is not None
    assert "dog" in image.absent
    assert source.report.dropped == {"object class without parts in the vocabulary": 1}
    assert source.has_instances is False


def test_numbers_that_mean_nothing_are_dropped(tmp_path: Path) -> None:
    cat = block(2, 2, 10, 10)
    wrong_parts = painted((TAIL, block(20, 20, 24, 24)), (200, block(0, 0, 1, 1)), none=255)
    root = pascal116(
        tmp_path,
        {
            "parts": (painted((CAT, cat), none=255), wrong_parts),
            "class": (painted((90, cat), none=255), painted(none=255)),
            "empty": (painted(none=255), painted(none=255)),
            "no_photo": (painted((CAT, cat), none=255), painted(none=255)),
        },
    )
    (root / "images/train/no_photo.jpg").unlink()
    source = open_source("pascal_part116", root)
    assert [image.image_id for image in source] == ["parts"]
    assert source.report.dropped == {
        "part without object": 1,
        "unknown part number": 1,
        "unknown class number": 1,
        "image without usable annotation": 2,
        "image file not found": 1,
    }


def test_the_missing_val_folder_of_early_archives_is_explained(tmp_path: Path) -> None:
    root = pascal116(tmp_path, {"a": (painted((CAT, block(0, 0, 9, 9)), none=255), painted(none=255))})
    with pytest.raises(InputError, match="early downloads lacked the val folders"):
        open_source("pascal_part116", root, split="val")
