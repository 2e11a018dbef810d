"""Regions of one COCO image: an id for each, and for each part the object that it belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pycocotools import mask as coco_mask

from segue.data.formats.annotations import AnnotatedRegion
from segue.data.formats.coco_report import CocoReport
from segue.data.formats.identifiers import identifier
from segue.data.formats.names import NameTable
from segue.masks import RLE


@dataclass(frozen=True)
class Drawn:
    """An annotation whose mask is sound.

    Attributes:
        rid: Of the region that it becomes.
        annotation: As the file has it.
        label: The category's name as it is written.
        rle: Its mask on the upright picture.
    """

    rid: str
    annotation: Mapping[str, Any]
    label: str
    rle: RLE


def region_ids(
    annotations: Sequence[Mapping[str, Any]], report: CocoReport
) -> list[tuple[str, Mapping[str, Any]]]:
    """An id for each annotation of an image, unique there; its own where no other has it.

    Ids may repeat from image to image, and may be missing: only `obj_ann_id` and references need them. An
    annotation that stands in the file twice is taken once. Several that share an id become "7#1", "7#2", so
    that nothing that asks for 7 gets one of them by chance.
    """
    numbers = Counter(identifier(annotation.get("id")) for annotation in annotations)
    kept: list[Mapping[str, Any]] = []
    seen: set[tuple[str, str]] = set()
    for annotation in annotations:
        number = identifier(annotation.get("id"))
        if number is not None and numbers[number] > 1:
            same = (number, repr((annotation.get("category_id"), annotation.get("segmentation"))))
            if same in seen:
                report.drop(f"annotation {number}", "annotation listed twice", "same id, category, outline")
                continue
            seen.add(same)
        kept.append(annotation)
    often = Counter(identifier(annotation.get("id")) for annotation in kept)
    used: Counter[str] = Counter()
    found = []
    for place, annotation in enumerate(kept):
        number = identifier(annotation.get("id"))
        if number is None:
            rid = f"at{place}"
        elif often[number] > 1:
            used[number] += 1
            rid = f"{number}#{used[number]}"
            report.repair(f"annotation {rid}", "annotation id repeated within an image: told apart by place")
        else:
            rid = number
        found.append((rid, annotation))
    return found


def linked_regions(
    drawn: Sequence[Drawn], names: NameTable, report: CocoReport
) -> tuple[tuple[AnnotatedRegion, ...], set[str]]:
    """Objects and parts in file order, and the names of parts that have no object and are left out."""
    # All objects first: a part may be listed before its own.
    objects = {
        one.rid: AnnotatedRegion(one.rid, "object", names.object(one.label), None, one.rle, one.label)
        for one in drawn
        if ":" not in one.label
    }
    regions: list[AnnotatedRegion] = []
    orphans: set[str] = set()
    for one in drawn:
        if ":" not in one.label:
            regions.append(objects[one.rid])
            continue
        parent = _parent(one, objects, names, report)
        if parent is None:
            orphans.add(names.key(one.label))
        else:
            part = names.part(one.label)
            regions.append(AnnotatedRegion(one.rid, "part", part, parent, one.rle, one.label))
    return tuple(regions), orphans


def most_overlapped(rle: RLE, objects: Iterable[AnnotatedRegion]) -> str | None:
    """The rid of the object that shares most pixels with a mask; None when none shares any."""
    overlaps = {
        region.rid: int(coco_mask.area(coco_mask.merge([rle, region.rle], intersect=True)))
        for region in objects
    }
    best = max(overlaps, key=lambda rid: overlaps[rid], default=None)
    return best if best is not None and overlaps[best] > 0 else None


def _parent(
    one: Drawn, objects: Mapping[str, AnnotatedRegion], names: NameTable, report: CocoReport
) -> str | None:
    wanted = names.object(one.label)
    stated = objects.get(identifier(one.annotation.get("obj_ann_id")) or "")
    # An obj_ann_id that names another class, or the part itself, is a slip of the file.
    if stated is not None and stated.name == wanted:
        return stated.rid
    best = most_overlapped(one.rle, (region for region in objects.values() if region.name == wanted))
    record = f"annotation {one.rid}"
    found = f"{one.label}, obj_ann_id {one.annotation.get('obj_ann_id')}"
    if best is None:
        report.drop(record, "part without parent", found)
    else:
        report.repair(record, "part given the object it overlaps most", f"{found} -> {best}")
    return best
