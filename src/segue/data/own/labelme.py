"""Folders of LabelMe: one JSON per image, shapes with labels; `object:part` labels are parts."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.formats.coco import clean_name, most_overlapped, name_key
from segue.data.formats.files import IMAGE_SUFFIXES, ImageFolder, json_files, load_json
from segue.data.formats.image_header import upright_hw
from segue.data.formats.report import ReadReport
from segue.data.formats.shapes import UnusableShape, shape_mask
from segue.data.own.sources import AnnotationSource, OwnData, usable_images
from segue.errors import ImageError, InputError
from segue.files import write_atomic
from segue.masks import Mask
from segue.records.conversation import Split

# reason -> (what is expected, what to do)
_ADVICE: dict[str, tuple[str, str]] = {
    "shape without area": ("polygon, rectangle, circle or mask", "outline the object with a polygon"),
    "shape with too few points": ("at least 3 points (2 for rectangles and circles)", "draw it again"),
    "shape without points": ("a list of finite pairs x, y", "draw it again"),
    "shape without label": ("a text in `label`", "name it"),
    "empty mask": ("at least one pixel in the image", "draw it again"),
    "damaged mask": ("a base64 PNG", "draw it again"),
    "part without object": ("an object of the part's class that it overlaps", "outline the object too"),
    "image file not found": ("the file of `imagePath`, or `imageData`", "pass the images with --images"),
    "image without size": ("imageHeight and imageWidth, or a readable image", "save it in LabelMe again"),
    "not a LabelMe file": ("a JSON object with a list `shapes`", "keep other JSON files elsewhere"),
    "file without usable shape": ("at least one shape", "nothing, if the image shows none of the names"),
}


class UnusableFile(Exception):
    """A file gives no image: `(reason, found)`."""


@dataclass
class _Group:
    """Shapes that are one region: the same label and group_id."""

    label: str
    group_id: Any
    is_part: bool
    mask: Mask
    numbers: list[int] = field(default_factory=list)


def read(path: Path, images: Path | None, split: Split) -> OwnData:
    """Read a folder of LabelMe files, or one file.

    Args:
        path: The folder (with its subfolders; only `path/split` where there is one), or one JSON file.
        images: Where the images lie, if not where `imagePath` says.
        split: Written into the records.

    Raises:
        InputError: Nothing usable.
    """
    files = [path] if path.is_file() else json_files(path, split)
    root = path.parent if path.is_file() else path
    report = ReadReport("labelme", path)
    folder = ImageFolder(images) if images is not None else None
    annotated = []
    for file in files:
        try:
            annotated.append(read_file(file, root, folder, report))
        except UnusableFile as problem:
            reason, found = problem.args
            _drop(report, file.name, reason, found, file)
    kept = usable_images(annotated, report)
    if not kept:
        raise report.nothing_usable("LabelMe JSON files with outlined shapes, and their images")
    return OwnData("labelme", AnnotationSource(kept, images or root, split), report, files)


def _drop(report: ReadReport, record: str, reason: str, found: str, file: Path) -> None:
    expected, fix = _ADVICE[reason]
    report.drop(record, reason, expected=expected, found=found, where=str(file), fix=fix)


def read_file(file: Path, root: Path, folder: ImageFolder | None, report: ReadReport) -> AnnotatedImage:
    """Read one LabelMe file.

    Args:
        file: The JSON.
        root: The image is named by the file's path below this folder.
        folder: Where to look for images first; None to look only where the file says, and beside it.
        report: Shapes that are left out are counted here.

    Raises:
        UnusableFile: No image, no size, or no shape is left.
    """
    try:
        data = load_json(file)
    except InputError as error:
        raise UnusableFile("not a LabelMe file", error.found) from None
    if not isinstance(data, Mapping) or not isinstance(data.get("shapes"), list):
        raise UnusableFile("not a LabelMe file", f"{type(data).__name__} without `shapes`")
    image = _image_file(data, file, folder, report)
    hw = _size(data, image)
    groups, unsure = _groups(data["shapes"], hw, file, report)
    regions = _regions(groups, unsure, file, report)
    if not regions:
        raise UnusableFile("file without usable shape", f"{len(data['shapes'])} shapes")
    name = file.relative_to(root).with_suffix("").as_posix()
    return AnnotatedImage(name, image, *hw, regions, frozenset(unsure))


def _image_file(data: Mapping[str, Any], file: Path, folder: ImageFolder | None, report: ReadReport) -> Path:
    """The image: as `imagePath` says, in the given folder, beside the JSON, or taken out of `imageData`."""
    stated = data.get("imagePath")
    name = stated.replace("\\", "/") if isinstance(stated, str) else ""
    if folder is not None and (found := folder.find(name)):
        return found
    beside = [file.parent / name] if name and "\0" not in name else []
    beside += [file.with_suffix(suffix) for suffix in IMAGE_SUFFIXES]
    for candidate in beside:
        if candidate.is_file():
            return Path(os.path.normpath(candidate))
    embedded = data.get("imageData")
    if isinstance(embedded, str) and embedded:
        return _unpacked(embedded, report)
    raise UnusableFile("image file not found", f"imagePath {stated!r}, imageData {type(embedded).__name__}")


def _unpacked(embedded: str, report: ReadReport) -> Path:
    """Write embedded image data to the user's cache, named by its content, and return the file."""
    try:
        content = base64.b64decode(embedded)
        upright_hw(content)
    except (binascii.Error, ValueError) as error:
        raise UnusableFile("image file not found", f"imageData is no image: {error}") from None
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    target = Path(home) / "segue" / "labelme_images" / f"{hashlib.sha256(content).hexdigest()[:32]}.img"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, content)
    note = f"images that only exist as imageData were written to {target.parent}"
    if note not in report.notes:
        report.notes.append(note)
    return target


def _size(data: Mapping[str, Any], image: Path) -> tuple[int, int]:
    height, width = data.get("imageHeight"), data.get("imageWidth")
    if isinstance(height, int) and isinstance(width, int) and 0 < height * width <= masks.MAX_PIXELS:
        return height, width
    try:
        return upright_hw(image)
    except ImageError as error:
        raise UnusableFile("image without size", error.found) from None


def _groups(
    shapes: list[Any], hw: tuple[int, int], file: Path, report: ReadReport
) -> tuple[list[_Group], set[str]]:
    """Shapes joined by label and group_id, and the names of those that had to be dropped."""
    groups: list[_Group] = []
    by_key: dict[tuple[str, str], _Group] = {}
    unsure: set[str] = set()
    for number, shape in enumerate(shapes):
        record = f"{file.name}, shape {number}"
        label = shape.get("label") if isinstance(shape, Mapping) else None
        if not isinstance(label, str) or not label.strip():
            _drop(report, record, "shape without label", repr(label), file)
            continue
        try:
            mask = shape_mask(shape, hw)
        except UnusableShape as problem:
            _drop(report, record, problem.args[0], f"{label!r}: {problem.args[1]}", file)
            unsure.add(name_key(label))
            continue
        group_id, flags = shape.get("group_id"), shape.get("flags")
        key = (name_key(label), repr(group_id))
        if group_id is not None and key in by_key:
            by_key[key].mask |= mask
            by_key[key].numbers.append(number)
            continue
        is_part = ":" in label or (isinstance(flags, Mapping) and flags.get("part") is True)
        group = _Group(label, group_id, is_part, np.array(mask), [number])
        groups.append(group)
        by_key[key] = group
    return groups, unsure


def _regions(
    groups: list[_Group], unsure: set[str], file: Path, report: ReadReport
) -> tuple[AnnotatedRegion, ...]:
    """Objects and parts in the order of the file; a part whose object is missing makes its name unsure."""
    objects: dict[int, AnnotatedRegion] = {}
    by_group: dict[Any, list[AnnotatedRegion]] = defaultdict(list)
    for position, group in enumerate(groups):
        if not group.is_part:
            region = AnnotatedRegion(
                f"s{group.numbers[0]}",
                "object",
                clean_name(group.label),
                None,
                masks.encode(group.mask),
                group.label,
            )
            objects[position] = region
            by_group[repr(group.group_id)].append(region)
    regions = []
    for position, group in enumerate(groups):
        if position in objects:
            regions.append(objects[position])
            continue
        owner, colon, part = group.label.partition(":")
        rle = masks.encode(group.mask)
        wanted = clean_name(owner) if colon else None
        candidates = [region for region in objects.values() if wanted in (None, region.name)]
        stated = [region for region in by_group[repr(group.group_id)] if region in candidates]
        if group.group_id is not None and len(stated) == 1:
            parent: str | None = stated[0].rid
        else:
            parent = most_overlapped(rle, candidates)
            if parent is not None and len(candidates) > 1:
                report.repaired["part given the object it overlaps most"] += 1
        if parent is None:
            found = f"{group.label!r}, group_id {group.group_id}"
            _drop(report, f"{file.name}, shape {group.numbers[0]}", "part without object", found, file)
            unsure.add(name_key(group.label))
            continue
        name = clean_name(part if colon else group.label)
        regions.append(AnnotatedRegion(f"s{group.numbers[0]}", "part", name, parent, rle, group.label))
    return tuple(regions)
