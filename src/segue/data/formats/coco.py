"""Read COCO instances and PACO-style `object:part` annotations, and say what had to be left out.

Public files hold a few broken records each. A reader that raises on the first one is useless, and one that
skips in silence lies about its counts: this one keeps what is sound and reports every record that it dropped,
with the reason.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.formats.coco_masks import segmentation_rle, to_rle
from segue.data.formats.coco_report import CocoReport, DroppedRecord, UnusableRecord
from segue.data.formats.image_header import upright_hw
from segue.errors import ImageError, RecordError
from segue.masks import RLE

__all__ = [
    "CocoAnnotations",
    "CocoReport",
    "DroppedRecord",
    "UnusableRecord",
    "category_names",
    "clean_name",
    "most_overlapped",
    "name_key",
    "read_coco",
    "read_image",
    "record_id",
    "to_rle",
]

# Folders under which COCO and PACO keep files that the JSON names without, or with another, folder.
_SPLIT_FOLDERS = (
    *("", "train2017", "val2017", "train2014", "val2014", "test2017"),
    *("train", "val", "valid", "test", "images"),
)


@dataclass(frozen=True)
class CocoAnnotations:
    """The sound images of a file, and the report on the rest."""

    images: tuple[AnnotatedImage, ...]
    report: CocoReport

    def __iter__(self) -> Iterator[AnnotatedImage]:
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)


def clean_name(name: str) -> str:
    """Strip LVIS decorations: `car_(automobile)` -> `car`, `pool_table` -> `pool table`."""
    return re.sub(r"_?\([^)]*\)", "", name).replace("_", " ").strip().lower()


def name_key(name: str) -> str:
    """Clean a category name on both sides of its colon: `car_(automobile):wheel` -> `car:wheel`."""
    return ":".join(clean_name(side) for side in name.split(":", 1))


def _find_image(images_dir: Path, file_name: str) -> Path | None:
    direct = images_dir / file_name
    if direct.is_file():
        return direct
    for folder in _SPLIT_FOLDERS:
        candidate = images_dir / folder / Path(file_name).name
        if candidate.is_file():
            return candidate
    return None


def _load_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise RecordError(
            "Annotation file not found",
            expected="a COCO JSON file",
            found="a folder" if path.is_dir() else "nothing",
            where=str(path),
            fix="name the file itself" if path.is_dir() else "check the path",
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RecordError(
            "Annotation file is not JSON",
            expected="a COCO JSON file",
            found=str(error),
            where=str(path),
            fix="download the file again",
        ) from None
    missing = [
        key for key in ("images", "annotations", "categories") if not isinstance(_get(data, key), list)
    ]
    if missing:
        raise RecordError(
            "Annotation file is not in COCO format",
            expected="lists `images`, `annotations` and `categories`",
            found=f"no list {', '.join(missing)}",
            where=str(path),
            fix="pass the instances file (not captions, not a single annotation)",
        )
    return dict(data)


def _get(data: Any, key: str) -> Any:
    return data.get(key) if isinstance(data, Mapping) else None


def read_coco(
    json_path: str | Path, images_dir: str | Path | None = None, *, check_files: bool = True
) -> CocoAnnotations:
    """Read a COCO instances or PACO-style file.

    A category `object:part` makes a part, whose object is named by `obj_ann_id`. A part whose `obj_ann_id`
    is missing or wrong goes to the object of the right class with the largest overlap (reported as
    repaired), or is dropped. Crowd regions (`iscrowd` 1) are dropped: they outline a group, not an object.
    An image that keeps no region is dropped. The name of whatever is dropped, and what the image itself
    lists in `not_exhaustive_category_ids`, is `unsure` in that image; where it has `neg_category_ids` (LVIS,
    PACO), nothing but these is `absent`. A size that the file lacks is read from the image's header.

    Args:
        json_path: The annotation file.
        images_dir: Folder that `file_name` is relative to; by default the JSON's own folder.
        check_files: Drop images whose file does not exist.

    Returns:
        The images that are sound, in file order, and the report.

    Raises:
        RecordError: The file is missing, not JSON or not COCO at all.
    """
    json_path = Path(json_path)
    images_dir = json_path.parent if images_dir is None else Path(images_dir)
    data = _load_json(json_path)
    report = CocoReport(json_path)
    names = category_names(data["categories"])
    by_image = _group(data, report)
    images = []
    for entry in data["images"]:
        annotations = by_image.pop(record_id(_get(entry, "id")), [])
        try:
            images.append(read_image(entry, annotations, names, images_dir, report, check_files=check_files))
        except UnusableRecord as problem:
            report.dropped.append(DroppedRecord(f"image {_get(entry, 'id')}", *problem.args))
    for annotations in by_image.values():
        for annotation in annotations:
            found = f"image_id {annotation.get('image_id')}"
            report.dropped.append(
                DroppedRecord(f"annotation {annotation['id']}", "image not in the file", found)
            )
    report.images = len(images)
    return CocoAnnotations(tuple(images), report)


def record_id(value: Any) -> Any:
    """An identifier as files use them; anything else (a list, say) is none."""
    return value if isinstance(value, (int, str, float)) else None


def category_names(categories: Iterable[Any]) -> dict[Any, str]:
    """The names of a file's `categories` by id, as they are written there."""
    return {record_id(_get(entry, "id")): str(entry["name"]) for entry in categories if _get(entry, "name")}


def read_image(
    entry: Any,
    annotations: list[dict[str, Any]],
    names: Mapping[Any, str],
    images_dir: Path,
    report: CocoReport,
    *,
    check_files: bool = True,
) -> AnnotatedImage:
    """Read one entry of `images` with its annotations; see `read_coco` for what is kept.

    Args:
        entry: The entry.
        annotations: Those of this image, each with an id of its own.
        names: See `category_names`.
        images_dir: Folder that `file_name` is relative to.
        report: Annotations that are dropped or repaired, and regions that are kept, are counted here.
        check_files: Look whether the image file exists.

    Raises:
        UnusableRecord: The image cannot be used.
    """
    image_id, path, hw = _image_header(entry, images_dir, check_files)
    if not annotations:
        raise UnusableRecord("image without annotation", str(entry.get("file_name")))
    regions, lost = _regions(annotations, names, hw, report)
    if not regions:
        raise UnusableRecord("image without usable annotation", str(entry.get("file_name")))
    unsure = lost | _listed(entry, "not_exhaustive_category_ids", names)
    absent = _listed(entry, "neg_category_ids", names) if "neg_category_ids" in entry else None
    report.objects += sum(region.kind == "object" for region in regions)
    report.parts += sum(region.kind == "part" for region in regions)
    return AnnotatedImage(image_id, path, *hw, regions, unsure, absent)


def _listed(entry: Mapping[str, Any], field_name: str, names: Mapping[Any, str]) -> frozenset[str]:
    """The names whose category ids an image lists in this field."""
    listed = entry.get(field_name)
    ids = listed if isinstance(listed, list) else []
    return frozenset(name_key(names[record_id(number)]) for number in ids if record_id(number) in names)


def _group(data: dict[str, Any], report: CocoReport) -> dict[Any, list[dict[str, Any]]]:
    """Sort annotations by image; a repeated or missing annotation id would make parents ambiguous."""
    by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    seen: set[Any] = set()
    for position, annotation in enumerate(data["annotations"]):
        identifier = record_id(_get(annotation, "id"))
        if identifier is None or str(identifier) in seen:
            reason = "annotation without id" if identifier is None else "repeated annotation id"
            report.dropped.append(
                DroppedRecord(f"annotation at position {position}", reason, f"id {identifier}")
            )
            continue
        seen.add(str(identifier))  # regions are named by text, where 1 and "1" are the same
        by_image[record_id(annotation.get("image_id"))].append(annotation)
    return by_image


def _image_header(entry: Any, images_dir: Path, check_files: bool) -> tuple[str, Path, tuple[int, int]]:
    file_name, height, width = (_get(entry, key) for key in ("file_name", "height", "width"))
    if not isinstance(file_name, str) or record_id(_get(entry, "id")) is None:
        raise UnusableRecord("image without file_name or id", repr(entry)[:60])
    path = _find_image(images_dir, file_name) if check_files else images_dir / file_name
    if path is None:
        raise UnusableRecord("image file not found", str(images_dir / file_name))
    if height is None and width is None and check_files:
        try:
            height, width = upright_hw(path)
        except ImageError as error:
            raise UnusableRecord("image without size", error.found) from None
    if not (isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0):
        raise UnusableRecord("image without size", f"height {height}, width {width}")
    if height * width > masks.MAX_PIXELS:
        raise UnusableRecord("image too large", f"{height} * {width} pixels, at most {masks.MAX_PIXELS:,}")
    return str(entry["id"]), path, (height, width)


def _regions(
    annotations: list[dict[str, Any]], names: Mapping[Any, str], hw: tuple[int, int], report: CocoReport
) -> tuple[tuple[AnnotatedRegion, ...], frozenset[str]]:
    """The sound regions of an image, and the names of those that were dropped."""
    lost: set[str] = set()
    decoded: list[tuple[dict[str, Any], str, RLE]] = []
    for annotation in annotations:
        try:
            name = names.get(record_id(annotation.get("category_id")))
            if name is None:
                raise UnusableRecord("unknown category", f"category_id {annotation.get('category_id')}")
            if annotation.get("iscrowd"):
                raise UnusableRecord("crowd region", name)
            decoded.append((annotation, name, segmentation_rle(annotation.get("segmentation"), hw)))
        except UnusableRecord as problem:
            report.dropped.append(DroppedRecord(f"annotation {annotation['id']}", *problem.args))
            lost |= {name_key(name)} if name is not None else set()
    objects = {
        annotation["id"]: AnnotatedRegion(str(annotation["id"]), "object", clean_name(name), None, rle, name)
        for annotation, name, rle in decoded
        if ":" not in name
    }
    regions = []
    for annotation, name, rle in decoded:
        if ":" not in name:
            regions.append(objects[annotation["id"]])
            continue
        parent = _parent(annotation, name, rle, objects, report)
        if parent is None:
            lost.add(name_key(name))
        else:
            part = clean_name(name.split(":", 1)[1])
            regions.append(AnnotatedRegion(str(annotation["id"]), "part", part, parent, rle, name))
    return tuple(regions), frozenset(lost)


def most_overlapped(rle: RLE, objects: Iterable[AnnotatedRegion]) -> str | None:
    """The rid of the object that shares most pixels with a mask; None when none shares any."""
    overlaps = {
        region.rid: int(coco_mask.area(coco_mask.merge([rle, region.rle], intersect=True)))
        for region in objects
    }
    best = max(overlaps, key=lambda rid: overlaps[rid], default=None)
    return best if best is not None and overlaps[best] > 0 else None


def _parent(
    annotation: dict[str, Any],
    name: str,
    rle: RLE,
    objects: Mapping[Any, AnnotatedRegion],
    report: CocoReport,
) -> str | None:
    wanted = clean_name(name.split(":", 1)[0])
    stated = objects.get(record_id(annotation.get("obj_ann_id")))
    if stated is not None and stated.name == wanted:
        return stated.rid
    best = most_overlapped(rle, (region for region in objects.values() if region.name == wanted))
    record = f"annotation {annotation['id']}"
    found = f"{name}, obj_ann_id {annotation.get('obj_ann_id')}"
    if best is None:
        report.dropped.append(DroppedRecord(record, "part without parent", found))
        return None
    report.repaired.append(
        DroppedRecord(record, "part given the object it overlaps most", f"{found} -> {best}")
    )
    return best
