"""Folders of LabelMe: one JSON per image, shapes with labels; `object:part` labels are parts."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from segue.data.formats.annotations import AnnotatedImage
from segue.data.formats.coco import DEEP
from segue.data.formats.coco_advice import ADVICE as IMAGE_ADVICE
from segue.data.formats.coco_masks import FRACTIONS
from segue.data.formats.frames import HW, Frame, FrameVotes, UnclearFrame, UnusableFrame, choose_frame
from segue.data.formats.identifiers import identifier
from segue.data.formats.image_folder import IMAGE_SUFFIXES, Found, ImageFolder
from segue.data.formats.image_header import ImageHeader, read_header, turned_upright
from segue.data.formats.names import NameTable
from segue.data.formats.report import ReadReport
from segue.data.formats.shapes import Shape, UnusableShape, read_shape
from segue.data.formats.splits import json_files
from segue.data.formats.text_file import load_text, parse_json
from segue.data.own.labelme_regions import Group, linked_regions
from segue.data.own.sources import AnnotationSource, OwnData
from segue.data.own.usable import usable_images
from segue.errors import ImageError, InputError
from segue.files import write_atomic
from segue.records.conversation import Split

# reason -> (what is expected, what to do)
_ADVICE: dict[str, tuple[str, str]] = {
    **IMAGE_ADVICE,
    "shape without area": ("polygon, rectangle, circle or mask", "outline the object with a polygon"),
    "shape with too few points": ("at least 3 points (2 for rectangles and circles)", "draw it again"),
    "shape without points": ("a list of finite pairs x, y", "draw it again"),
    "shape without label": ("a text in `label`", "name it"),
    "empty mask": ("at least one pixel in the image", "draw it again"),
    "damaged mask": ("a base64 PNG", "draw it again"),
    "part without object": ("an object of the part's class that it overlaps", "outline the object too"),
    "image file not found": ("the file of `imagePath`, or `imageData`", "pass the images with --images"),
    "not a LabelMe file": ("a JSON object with a list `shapes`", "keep other JSON files elsewhere"),
    "file without usable shape": ("at least one shape", "nothing, if the image shows none of the names"),
}


_LABEL = re.compile(r'"label"\s*:\s*("(?:[^"\\]|\\.)*")')


class UnusableFile(Exception):
    """A file gives no image: `(reason, found)`."""


class UnclearFile(UnusableFile):
    """Other files may tell on which frame its shapes lie, see `segue.data.formats.frames`."""


@dataclass
class LabelMeReading:
    """Context of a reading: what is the same for all files of a folder.

    Attributes:
        root: Images are named by their JSON's path below this folder.
        names: How the labels are said.
        folder: Where images are looked for first; None to look only where the files say, and beside them.
        votes: On which frame the shapes lie.
        beside: The look-up for each folder of files, made on first use.
    """

    root: Path
    names: NameTable
    folder: ImageFolder | None = None
    votes: FrameVotes = field(default_factory=FrameVotes)
    beside: dict[Path, ImageFolder] = field(default_factory=dict)

    def look_ups(self, file: Path) -> list[ImageFolder]:
        """Where the image of a file may lie, in this order."""
        if file.parent not in self.beside:
            self.beside[file.parent] = ImageFolder.beside(file)
        return [*([self.folder] if self.folder is not None else []), self.beside[file.parent]]


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
    reading = LabelMeReading(root, label_names(files), ImageFolder(images) if images is not None else None)
    found: dict[Path, AnnotatedImage] = {}
    waiting = files
    # Files whose frame is unclear wait until the others have told.
    for settle in (False, True):
        reading.votes.settle = settle
        unclear = []
        for file in waiting:
            # A file that is unclear at first is read twice, and must be counted once.
            own = ReadReport("labelme", path)
            try:
                found[file] = read_file(file, reading, own)
            except UnusableFile as problem:
                if isinstance(problem, UnclearFile) and not settle:
                    unclear.append(file)
                    continue
                reason, detail = problem.args
                _drop(own, file.name, reason, detail, file)
            report.add(own)
        waiting = unclear
    report.notes += reading.names.notes
    # In the order of the files: those that had to wait stand last in `found`.
    kept = usable_images([found[file] for file in files if file in found], report)
    if not kept:
        raise report.nothing_usable("LabelMe JSON files with outlined shapes, and their images")
    return OwnData("labelme", AnnotationSource(kept, images or root, split), report, files)


def label_names(files: Sequence[Path]) -> NameTable:
    """How the labels of these files are said, all of them known before the first one is."""
    labels: set[str] = set()
    for file in files:
        with suppress(InputError):  # said where the file is read
            labels |= {json.loads(found) for found in _LABEL.findall(load_text(file).text)}
    return NameTable(label for label in labels if label.strip())


def _drop(report: ReadReport, record: str, reason: str, found: str, file: Path) -> None:
    expected, fix = _ADVICE.get(reason, ("", ""))
    report.drop(record, reason, expected=expected, found=found, where=str(file), fix=fix)


def read_file(file: Path, reading: LabelMeReading, report: ReadReport) -> AnnotatedImage:
    """Read one LabelMe file.

    Args:
        file: The JSON.
        reading: Of the folder.
        report: Shapes that are left out, and what is repaired, are counted here.

    Raises:
        UnusableFile: No image, no size, or no shape is left.
    """
    try:
        data, decoded = parse_json(file)
    except InputError as error:
        raise UnusableFile("not a LabelMe file", error.found) from None
    if not isinstance(data, Mapping) or not isinstance(data.get("shapes"), list):
        raise UnusableFile("not a LabelMe file", f"{type(data).__name__} without `shapes`")
    if decoded.is_guess:
        report.repaired[decoded.wording] += 1
    image = _image_file(data, file, reading, report)
    header = _header(image, report)
    unsure: set[str] = set()
    shapes = _shapes(data["shapes"], file, reading.names, report, unsure)
    frame = _frame(data, header, [shape for _, _, shape in shapes], reading.votes)
    groups = _groups(shapes, frame, file, reading.names, report, unsure)
    regions, orphans = linked_regions(groups, reading.names, report)
    for group in orphans:
        found = f"{group.label!r}, group_id {group.group_id}"
        _drop(report, f"{file.name}, shape {group.numbers[0]}", "part without object", found, file)
        unsure.add(reading.names.key(group.label))
    if not regions:
        raise UnusableFile("file without usable shape", f"{len(data['shapes'])} shapes")
    if frame.repair:
        report.repaired[frame.repair] += 1
    name = file.relative_to(reading.root).with_suffix("").as_posix()
    return AnnotatedImage(name, image, *header.hw, regions, frozenset(unsure))


def _image_file(data: Mapping[str, Any], file: Path, reading: LabelMeReading, report: ReadReport) -> Path:
    """The image: as `imagePath` says, named like the JSON, or taken out of `imageData`."""
    stated = data.get("imagePath")
    name = stated if isinstance(stated, str) else ""
    look_ups = reading.look_ups(file)
    several: Found | None = None
    for folder in look_ups:
        found = folder.look(name)
        if found.path is not None:
            if found.spelling:
                report.repaired[f"image found by {found.spelling}"] += 1
            return found.path
        several = several or (found if found.candidates else None)
    # Not one of several by chance, even where a file of the JSON's name lies beside it.
    if several is not None:
        raise UnusableFile(several.reason, several.found(name, look_ups[0].folder))
    embedded = data.get("imageData")
    for place, suffix in product([file.parent, *(f.folder for f in look_ups)], IMAGE_SUFFIXES):
        candidate = place / f"{file.stem}{suffix}"
        if candidate.is_file():
            report.repaired["image named like its JSON, because there is none of imagePath"] += 1
            return Path(os.path.normpath(candidate))
    if isinstance(embedded, str) and embedded:
        return _unpacked(embedded, report)
    raise UnusableFile("image file not found", f"imagePath {stated!r}, imageData {type(embedded).__name__}")


def _unpacked(embedded: str, report: ReadReport) -> Path:
    """Write embedded image data to the user's cache, named by its content, and return the file."""
    try:
        content = base64.b64decode(embedded)
        read_header(content)
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


def _header(image: Path, report: ReadReport) -> ImageHeader:
    try:
        header = read_header(image)
    except ImageError as error:
        raise UnusableFile("image cannot be read", f"{error.found} ({image.name})") from None
    if header.is_deep:
        report.repaired[DEEP] += 1
    return header


def _frame(data: Mapping[str, Any], header: ImageHeader, shapes: Sequence[Shape], votes: FrameVotes) -> Frame:
    sizes = [identifier(data.get(name)) for name in ("imageHeight", "imageWidth")]
    stated: HW | None = None
    if all(size is not None and size.isdecimal() and int(size) > 0 for size in sizes):
        stated = (int(sizes[0] or 0), int(sizes[1] or 0))
    reaches = [reach for shape in shapes if (reach := shape.reach()) is not None]
    try:
        return choose_frame(stated, header, reaches, votes)
    except UnclearFrame as problem:
        raise UnclearFile(*problem.args) from None
    except UnusableFrame as problem:
        raise UnusableFile(*problem.args) from None


_Labelled = tuple[int, Mapping[str, Any], Shape]


def _shapes(
    shapes: list[Any], file: Path, names: NameTable, report: ReadReport, unsure: set[str]
) -> list[_Labelled]:
    """Shapes that have a label and points, with their numbers; the names of others go to `unsure`."""
    found = []
    for number, shape in enumerate(shapes):
        record = f"{file.name}, shape {number}"
        label = shape.get("label") if isinstance(shape, Mapping) else None
        if not isinstance(label, str) or not label.strip():
            _drop(report, record, "shape without label", repr(label), file)
            continue
        try:
            found.append((number, shape, read_shape(shape)))
        except UnusableShape as problem:
            _drop(report, record, problem.args[0], f"{label!r}: {problem.args[1]}", file)
            unsure.add(names.key(label))
    return found


def _groups(
    shapes: Sequence[_Labelled],
    frame: Frame,
    file: Path,
    names: NameTable,
    report: ReadReport,
    unsure: set[str],
) -> list[Group]:
    """Shapes drawn, turned upright, and joined by label and group_id."""
    groups: list[Group] = []
    by_key: dict[tuple[str, str], Group] = {}
    for number, shape, outline in shapes:
        label = shape["label"]
        try:
            mask = turned_upright(outline.draw(frame.hw), frame.orientation)
        except UnusableShape as problem:
            record = f"{file.name}, shape {number}"
            _drop(report, record, problem.args[0], f"{label!r}: {problem.args[1]}", file)
            unsure.add(names.key(label))
            continue
        if outline.is_fractions:
            report.repaired[FRACTIONS] += 1
        group_id, flags = identifier(shape.get("group_id")), shape.get("flags")
        key = (names.key(label), group_id or "")
        if group_id is not None and key in by_key:
            by_key[key].mask |= mask
            by_key[key].numbers.append(number)
            continue
        is_part = ":" in label or (isinstance(flags, Mapping) and flags.get("part") is True)
        group = Group(label, group_id, is_part, mask.copy(), [number])
        groups.append(group)
        by_key[key] = group
    return groups
