"""A COCO or PACO file, or a folder with one per split, as a source of composed conversations."""

from __future__ import annotations

from pathlib import Path

from segue.data.formats.coco import read_coco
from segue.data.formats.coco_advice import ADVICE
from segue.data.formats.coco_report import CocoReport
from segue.data.formats.report import ReadReport
from segue.data.formats.splits import json_files, names_split, words_of
from segue.data.own.sources import AnnotationSource, OwnData
from segue.data.own.usable import usable_images
from segue.errors import InputError
from segue.records.conversation import Split

# What COCO's own folder `annotations` holds beside the instances.
_OTHER_TASKS = {"captions", "person", "keypoints", "stuff", "panoptic", "info"}


def read(path: Path, images: Path | None, split: Split, *, keep_crowds: bool = False) -> OwnData:
    """Read instances; see `segue.data.formats.coco.read_coco` for what is kept.

    Args:
        path: The JSON file, or a folder with one whose name contains the split ("instances_train.json").
        images: Folder that `file_name` is relative to; by default see `ImageFolder.beside`.
        split: Written into the records.
        keep_crowds: Keep what is marked `iscrowd` 1, each as one object.

    Raises:
        InputError: No file, several that fit, or nothing usable.
        RecordError: The file is not in COCO format.
    """
    file = path if path.is_file() else choose_file(path, split)
    annotations = read_coco(file, images, keep_crowds=keep_crowds)
    report = ReadReport("coco", file)
    copy_report(annotations.report, report)
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
    # Of COCO's own files for a split, only the instances have masks and names.
    sought = [file for file in found if not words_of(file.stem) & _OTHER_TASKS] or found
    named = [file for file in sought if names_split(file.stem, split)]
    chosen = sought if len(sought) == 1 else named
    if len(chosen) != 1:
        raise InputError(
            "It is not clear which file holds the annotations.",
            expected=f"one JSON file, or one with {split!r} in its name",
            found=", ".join(file.relative_to(folder).as_posix() for file in found[:8]) or "no JSON file",
            where=str(folder),
            fix="name the file itself, or another part of the data with --split",
        )
    return chosen[0]


def copy_report(coco: CocoReport, report: ReadReport) -> None:
    """Take over what the reading of COCO's lists left out, repaired and noted."""
    for entry in coco.dropped:
        expected, fix = ADVICE.get(entry.reason, ("", ""))
        report.drop(entry.record, entry.reason, expected=expected, found=entry.detail, fix=fix)
    for entry in coco.repaired:
        report.repaired[entry.reason] += 1
    report.notes += coco.notes
