"""A COCO or PACO file, or a folder with one per split, as a source of composed conversations."""

from __future__ import annotations

from pathlib import Path

from segue.data.formats.coco import CocoReport, read_coco
from segue.data.formats.files import json_files
from segue.data.formats.report import ReadReport
from segue.data.own.sources import AnnotationSource, OwnData, usable_images
from segue.errors import InputError
from segue.records.conversation import Split

# reason of the reader -> (what is expected, what to do)
ADVICE: dict[str, tuple[str, str]] = {
    "crowd region": ("one object per annotation (iscrowd 0)", "nothing, unless the group should be outlined"),
    "no segmentation": ("polygons or RLE in `segmentation`", "boxes alone do not do: outline the object"),
    "no usable polygon": ("at least 3 points x, y, all finite", "draw the polygon again"),
    "empty mask": ("at least one pixel inside", "draw the object again, or delete the annotation"),
    "damaged run lengths": ("COCO RLE of the image's size", "encode the mask again with pycocotools"),
    "mask size differs from image size": (
        "an RLE with the image's (height, width)",
        "resize the mask, or correct the image's height and width",
    ),
    "unknown category": ("a category_id listed in `categories`", "add the category"),
    "part without parent": ("an object of the part's class below it", "set obj_ann_id to the object's id"),
    "image file not found": ("an image file of this name", "pass the folder of the images with --images"),
    "image without size": ("height and width above 0", "write them, or pass the folder of the images"),
    "image too large": ("fewer pixels", "make the image smaller"),
    "image without file_name or id": ("`file_name` and `id`", "complete the record"),
    "image without annotation": ("at least one annotation", "nothing, if the image shows none of the names"),
    "image without usable annotation": ("at least one sound annotation", "repair what is listed above"),
    "image not in the file": ("an image_id listed in `images`", "add the image"),
    "annotation without id": ("a unique `id`", "number the annotations"),
    "repeated annotation id": ("a unique `id`", "number the annotations again"),
}


def read(path: Path, images: Path | None, split: Split) -> OwnData:
    """Read instances; see `segue.data.formats.coco.read_coco` for what is kept.

    Args:
        path: The JSON file, or a folder with one whose name contains the split ("instances_train.json").
        images: Folder that `file_name` is relative to; by default the JSON's own.
        split: Written into the records.

    Raises:
        InputError: No file, several that fit, or nothing usable.
        RecordError: The file is not in COCO format.
    """
    file = path if path.is_file() else choose_file(path, split)
    annotations = read_coco(file, images)
    report = ReadReport("coco", file)
    _copy(annotations.report, report)
    kept = usable_images(annotations, report)
    if not kept:
        raise report.nothing_usable(
            "a COCO file with at least one image that exists and one sound mask in it"
        )
    if any(image.absent is not None for image in kept):
        report.notes.append("absence is only stated of names that the file lists in neg_category_ids")
    root = file.parent if images is None else images
    return OwnData("coco", AnnotationSource(kept, root, split), report, [file])


def choose_file(folder: Path, split: str) -> Path:
    """The one JSON file of a folder, or the one named like the split.

    Raises:
        InputError: No such folder, no file, or several that fit.
    """
    if not folder.exists():
        raise InputError(
            "There are no such annotations.",
            expected="a COCO JSON file, or a folder with one",
            found="nothing",
            where=str(folder),
            fix="check the path",
        )
    found = json_files(folder, split)
    named = [file for file in found if split in file.stem]
    chosen = found if len(found) == 1 else named
    if len(chosen) != 1:
        raise InputError(
            "It is not clear which file holds the annotations.",
            expected=f"one JSON file, or one with {split!r} in its name",
            found=", ".join(file.name for file in found[:8]) or "no JSON file",
            where=str(folder),
            fix="name the file itself",
        )
    return chosen[0]


def _copy(coco: CocoReport, report: ReadReport) -> None:
    for entry in coco.dropped:
        expected, fix = ADVICE.get(entry.reason, ("", ""))
        report.drop(entry.record, entry.reason, expected=expected, found=entry.detail, fix=fix)
    for entry in coco.repaired:
        report.repaired[entry.reason] += 1
