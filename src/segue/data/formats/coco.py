"""Read COCO instances and PACO-style `object:part` annotations, and say what had to be left out.

Public files hold a few broken records each. A reader that raises on the first one is useless, and one that
skips in silence lies about its counts: this one keeps what is sound and reports every record that it dropped,
with the reason. Headers of all pictures are read here, so that a wrong size is not found out in training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segue import masks
from segue.data.formats.annotations import AnnotatedImage
from segue.data.formats.coco_categories import Categories
from segue.data.formats.coco_crowds import CrowdMarks, is_crowd
from segue.data.formats.coco_lists import (
    Entry,
    annotations_by_image,
    load_lists,
    report_strays,
    stated_name,
    unique_images,
)
from segue.data.formats.coco_masks import SHORT_POLYGON, Outline, read_outline, upright_rle
from segue.data.formats.coco_regions import Drawn, linked_regions, region_ids
from segue.data.formats.coco_report import CocoReport, UnusableRecord
from segue.data.formats.frames import HW, Frame, FrameVotes, UnclearFrame, UnusableFrame, choose_frame
from segue.data.formats.identifiers import identifier
from segue.data.formats.image_folder import ImageFolder
from segue.data.formats.image_header import ImageHeader, read_header
from segue.errors import ImageError


@dataclass(frozen=True)
class CocoAnnotations:
    """The sound images of a file, and the report on the rest."""

    images: tuple[AnnotatedImage, ...]
    report: CocoReport

    def __iter__(self) -> Iterator[AnnotatedImage]:
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)


@dataclass
class CocoReading:
    """Context of a reading: what is the same for all images of a file.

    Attributes:
        categories: Its names.
        folder: Where its images lie.
        crowds: How it uses `iscrowd`.
        check_files: Look for the image files, and read their headers.
        votes: On which frame its annotations lie.
    """

    categories: Categories
    folder: ImageFolder
    crowds: CrowdMarks = field(default_factory=CrowdMarks)
    check_files: bool = True
    votes: FrameVotes = field(default_factory=FrameVotes)


def read_coco(
    json_path: str | Path,
    images_dir: str | Path | None = None,
    *,
    check_files: bool = True,
    keep_crowds: bool = False,
    lists: Mapping[str, Any] | None = None,
) -> CocoAnnotations:
    """Read a COCO instances or PACO-style file.

    A category `object:part` makes a part, whose object is named by `obj_ann_id`. A part whose `obj_ann_id`
    is missing or wrong goes to the object of the right class with the largest overlap (reported as
    repaired), or is dropped. Crowd regions (`iscrowd` 1) are dropped, since they outline a group, unless the
    mark only says that a mask is written as run lengths (see `CrowdMarks`). A mask must agree with its `bbox`
    and `area`, and the size of an image with its file's header, where EXIF orientation may explain a swap.
    An image that keeps no region is dropped. The name of whatever is dropped, and what the image itself
    lists in `not_exhaustive_category_ids`, is `unsure` in that image; where it has `neg_category_ids` (LVIS,
    PACO), nothing but these is `absent`.

    Args:
        json_path: The annotation file.
        images_dir: Folder that names are relative to; by default see `ImageFolder.beside`.
        check_files: Drop images whose file does not exist or has another size.
        keep_crowds: Keep what is marked `iscrowd` 1, each as one object.
        lists: The content in this form, where the file itself has another; by default it is loaded.

    Returns:
        The images that are sound, in file order, and the report.

    Raises:
        RecordError: The file is missing, not JSON or not COCO at all.
    """
    json_path = Path(json_path)
    report = CocoReport(json_path)
    data = load_lists(json_path, report) if lists is None else lists
    categories, crowds = Categories(data["categories"]), CrowdMarks(keep=keep_crowds)
    entries = unique_images(data["images"], report)
    by_image = annotations_by_image(data["annotations"], crowds)
    folder = ImageFolder.beside(json_path, None if images_dir is None else Path(images_dir))
    reading = CocoReading(categories, folder, crowds, check_files)
    images = _read_images(entries, by_image, reading, report)
    report_strays(by_image, {key for key, _ in entries}, report)
    report.notes += [*categories.notes(), *crowds.notes()]
    report.images = len(images)
    return CocoAnnotations(tuple(images), report)


def _read_images(
    entries: list[tuple[str, Entry]],
    by_image: Mapping[str, list[Entry]],
    reading: CocoReading,
    report: CocoReport,
) -> list[AnnotatedImage]:
    """All images in file order; those whose frame is unclear last, when the others have told."""
    found: dict[int, AnnotatedImage] = {}
    waiting = list(range(len(entries)))
    for settle in (False, True):
        reading.votes.settle = settle
        unclear = []
        for place in waiting:
            key, entry = entries[place]
            # A report of its own: an image that is unclear at first is read twice, and must be counted once.
            own = CocoReport(report.source)
            try:
                found[place] = read_image(entry, by_image.get(key, []), reading, own)
            except UnclearFrame as problem:
                if not settle:
                    unclear.append(place)
                    continue
                own.drop(f"image {key}", *problem.args)
            except UnusableRecord as problem:
                own.drop(f"image {key}", *problem.args)
            report.add(own)
        # In the second round `settle` lets the votes of the first decide.
        waiting = unclear
    return [found[place] for place in sorted(found)]


def read_image(
    entry: Entry, annotations: Sequence[Entry], reading: CocoReading, report: CocoReport
) -> AnnotatedImage:
    """Read one entry of `images` with its annotations; see `read_coco` for what is kept.

    Args:
        entry: The entry.
        annotations: Those of this image.
        reading: Of the file.
        report: What is left out and repaired is noted here.

    Raises:
        UnusableRecord: The image cannot be used.
        UnclearFrame: Another image may tell on which frame its annotations lie.
    """
    categories = reading.categories
    name, path, header = _image_file(entry, reading, report)
    if not annotations:
        raise UnusableRecord("image without annotation", name)
    lost: set[str] = set()
    outlined = _outlined(annotations, reading, report, lost)
    stated = _stated_hw(entry)
    frame = _frame(stated, header, [outline for _, _, outline in outlined], reading)
    drawn: list[Drawn] = []
    for rid, annotation, outline in outlined:
        label = categories.name(annotation.get("category_id"))
        # `_outlined` passes on none without a name.
        assert label is not None
        record = f"annotation {rid}"
        try:
            rle, repair = upright_rle(outline, annotation, frame)
        except UnusableRecord as problem:
            report.drop(record, *problem.args)
            lost.add(categories.names.key(label))
            continue
        for wording in (repair, SHORT_POLYGON if outline.num_short else ""):
            if wording:
                report.repair(record, wording, label)
        # Kept as an object, but its name is unsure: no number is asked of what may be a crowd.
        if is_crowd(annotation) and reading.crowds.are_uncertain:
            lost.add(categories.names.key(label))
        drawn.append(Drawn(rid, annotation, label, rle))
    regions, orphans = linked_regions(drawn, categories.names, report)
    if not regions:
        raise UnusableRecord("image without usable annotation", name)
    if frame.repair:
        report.repair(f"image {name}", frame.repair)
    unsure = lost | orphans | _listed(entry, "not_exhaustive_category_ids", categories)
    absent = _listed(entry, "neg_category_ids", categories) if "neg_category_ids" in entry else None
    report.objects += sum(region.kind == "object" for region in regions)
    report.parts += sum(region.kind == "part" for region in regions)
    # The upright size, since masks have been turned by now.
    hw = header.hw if header is not None else frame.hw
    key = identifier(entry.get("id")) or name
    return AnnotatedImage(key, path, *hw, regions, frozenset(unsure), absent)


def _image_file(
    entry: Entry, reading: CocoReading, report: CocoReport
) -> tuple[str, Path, ImageHeader | None]:
    """The image's name, its file and header; no header where files are not looked at."""
    name = stated_name(entry)
    if name is None:
        raise UnusableRecord("image without file_name or id", repr(entry)[:60])
    if not reading.check_files:
        return name, reading.folder.folder / name, None
    found = reading.folder.look(name)
    if found.path is None:
        raise UnusableRecord(found.reason, found.found(name, reading.folder.folder))
    try:
        header = read_header(found.path)
    except ImageError as error:
        raise UnusableRecord("image cannot be read", f"{error.found} ({found.path.name})") from None
    if header.is_deep:
        report.repair(f"image {name}", DEEP)
    if found.spelling:
        report.repair(f"image {name}", f"image found by {found.spelling}", str(found.path))
    return name, found.path, header


DEEP = "picture of more than 8 bits: scaled by its own brightest value where it uses 14 bits or fewer"


def _stated_hw(entry: Entry) -> HW | None:
    """The size in the record, (height, width); None where it has none."""
    values = []
    for name in ("height", "width"):
        text = identifier(entry.get(name))
        if text is None:
            return None
        values.append(int(text) if text.isdecimal() else 0)
    return values[0], values[1]


def _frame(
    stated: HW | None, header: ImageHeader | None, outlines: list[Outline], reading: CocoReading
) -> Frame:
    reaches = [reach for outline in outlines if (reach := outline.reach()) is not None]
    if header is not None:
        try:
            return choose_frame(stated or None, header, reaches, reading.votes)
        except UnclearFrame:
            raise
        except UnusableFrame as problem:
            raise UnusableRecord(*problem.args) from None
    if stated is None or min(stated) <= 0:
        raise UnusableRecord("image without size", f"{stated or 'nothing'}")
    if stated[0] * stated[1] > masks.MAX_PIXELS:
        found = f"{stated[0]} * {stated[1]} pixels, at most {masks.MAX_PIXELS:,}"
        raise UnusableRecord("image too large", found)
    return Frame(stated)


def _outlined(
    annotations: Sequence[Entry], reading: CocoReading, report: CocoReport, lost: set[str]
) -> list[tuple[str, Entry, Outline]]:
    """Annotations with a name and an outline, by their region ids; the names of others go to `lost`."""
    categories = reading.categories
    found = []
    for rid, annotation in region_ids(annotations, report):
        category = annotation.get("category_id")
        name = categories.name(category)
        try:
            if name is None:
                known = categories.repeated.get(identifier(category) or "")
                detail = f"category_id {category}" + (f" of {', '.join(known)}" if known else "")
                raise UnusableRecord("repeated category id" if known else "unknown category", detail)
            if is_crowd(annotation) and not reading.crowds.are_kept:
                raise UnusableRecord("crowd region", f"{name}, iscrowd {annotation.get('iscrowd')}")
            found.append((rid, annotation, read_outline(annotation.get("segmentation"))))
        except UnusableRecord as problem:
            report.drop(f"annotation {rid}", *problem.args)
            lost |= categories.possible_keys(category)
    return found


def _listed(entry: Entry, field_name: str, categories: Categories) -> frozenset[str]:
    """The names whose category ids an image lists in this field."""
    listed = entry.get(field_name)
    ids = listed if isinstance(listed, list) else []
    return frozenset(key for number in ids if (key := categories.key(number)) is not None)
