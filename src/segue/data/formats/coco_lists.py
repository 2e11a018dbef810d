"""The three lists of a COCO file: images by their key, annotations by image, and what belongs to none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segue.data.formats.coco_crowds import CrowdMarks
from segue.data.formats.coco_report import CocoReport
from segue.data.formats.identifiers import identifier
from segue.data.formats.text_file import parse_json
from segue.errors import InputError, RecordError

Entry = Mapping[str, Any]

REPEATED_IMAGE = "repeated image id"
NAME_FIELDS = ("file_name", "filename", "path", "coco_url")
"""Where files write the name of an image, the usual field first; LVIS v1 has an address alone."""


def load_lists(path: Path, report: CocoReport) -> dict[str, Any]:
    """The content of a file in COCO format.

    Raises:
        RecordError: It is something else; says what.
    """
    if not path.is_file():
        raise RecordError(
            "Annotation file not found",
            expected="a COCO JSON file",
            found="a folder" if path.is_dir() else "nothing",
            where=str(path),
            fix="name the file itself" if path.is_dir() else "check the path",
        )
    try:
        data, decoded = parse_json(path)
    except InputError as error:
        raise RecordError(
            "Annotation file is not JSON",
            expected="a COCO JSON file",
            found=error.found,
            where=str(path),
            fix=error.fix,
        ) from None
    if decoded.is_guess:
        report.notes.append(decoded.wording)
    check_lists(path, {key for key, value in data.items() if isinstance(value, list)} if _is(data) else set())
    if any(_is(entry) and "segments_info" in entry for entry in data["annotations"][:50]):
        raise RecordError(
            "This is a panoptic file.",
            expected="an instances file, with a `segmentation` in every annotation",
            found="`segments_info`: the masks are colours of PNG files beside it",
            where=str(path),
            fix="use instances_*.json, or convert it with panopticapi's panoptic2detection_coco_format.py",
        )
    return dict(data)


def check_lists(path: Path, found: set[str]) -> None:
    """Raise RecordError unless a file has COCO's three lists."""
    missing = [key for key in ("images", "annotations", "categories") if key not in found]
    if missing:
        raise RecordError(
            "Annotation file is not in COCO format",
            expected="lists `images`, `annotations` and `categories`",
            found=f"no list {', '.join(missing)}",
            where=str(path),
            fix="pass the instances file (not captions, not a single annotation)",
        )


def _is(entry: Any) -> bool:
    return isinstance(entry, Mapping)


def entry_key(entry: Any) -> str | None:
    """Name by which annotations call an image: its id, else its file name."""
    if not isinstance(entry, Mapping):
        return None
    return identifier(entry.get("id")) or stated_name(entry)


def stated_name(entry: Entry) -> str | None:
    """The name of an image in whichever field the file has it."""
    return next((v for f in NAME_FIELDS if isinstance(v := entry.get(f), str) and v.strip()), None)


def unique_images(entries: list[Any], report: CocoReport) -> list[tuple[str, Entry]]:
    """Images by their key; of different images with one id nobody can tell whose the annotations are."""
    by_key: dict[str, list[Entry]] = defaultdict(list)
    for position, entry in enumerate(entries):
        key = entry_key(entry)
        if key is None or stated_name(entry) is None:
            report.drop(f"image at position {position}", "image without file_name or id", repr(entry)[:60])
            if key is None:
                continue
            # Without a name it still claims its id: another entry of this id is then a repetition.
            by_key[key].append({})
            continue
        by_key[key].append(entry)
    kept = []
    for key, own in by_key.items():
        if len({stated_name(entry) for entry in own}) > 1:
            names = ", ".join(repr(stated_name(entry)) for entry in own)
            for _ in own:
                report.drop(f"image {key}", REPEATED_IMAGE, f"id {key} of {names}")
        elif own[0]:
            kept.append((key, own[0]))
            for _ in own[1:]:
                report.repair(f"image {key}", "image listed twice with the same id and name: taken once")
    return kept


def annotations_by_image(annotations: list[Any], crowds: CrowdMarks) -> dict[str, list[Entry]]:
    """Annotations by the key of their image, in file order, each counted in `crowds`."""
    by_image: dict[str, list[Entry]] = defaultdict(list)
    for annotation in annotations:
        entry = annotation if isinstance(annotation, Mapping) else {}
        crowds.add(entry)
        by_image[identifier(entry.get("image_id")) or ""].append(entry)
    return by_image


def report_strays(by_image: Mapping[str, list[Entry]], known: set[str], report: CocoReport) -> None:
    """Annotations of images that are not listed, or whose id is not one image's."""
    repeated = {dropped.record for dropped in report.dropped if dropped.reason == REPEATED_IMAGE}
    for key, strays in by_image.items():
        if key in known:
            continue
        is_repeated = f"image {key}" in repeated
        reason = "annotation of a repeated image id" if is_repeated else "image not in the file"
        for stray in strays:
            report.drop(f"annotation {stray.get('id')}", reason, f"image_id {stray.get('image_id')}")
