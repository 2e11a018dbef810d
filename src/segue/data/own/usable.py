"""Which annotated images can be asked about: names that fit into sentences, and each picture once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import reduce

from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.formats.report import ReadReport
from segue.data.own.things import Inventory
from segue.protocol import contains_tag

_MOST_SHOWN = 12


def usable_images(images: Iterable[AnnotatedImage], report: ReadReport) -> list[AnnotatedImage]:
    """Keep the images that can be asked about, and count what they show.

    Entries of one picture become one image: what one of them lacks the other may show.
    """
    kept = []
    unsure: Counter[str] = Counter()
    for annotated in _one_each(images, report):
        if not (is_writable(annotated.image_id) and is_writable(str(annotated.path))):
            report.drop(
                f"image {annotated.image_id!r}",
                "unusable image name",
                expected="an id and a path of one line of UTF-8, without tags",
                found=repr(str(annotated.path)),
                fix="rename the image",
            )
            continue
        image = _well_named(annotated, report)
        inventory = Inventory(image)
        if not inventory.things:
            report.drop(
                f"image {image.path.name}",
                "image without usable name",
                expected="at least one region whose name can stand in a sentence",
                found=f"{len(annotated.regions)} regions",
                fix="rename the categories or labels that are listed",
            )
            continue
        kept.append(image)
        unsure.update(name.replace(":", "'s ") for name in image.unsure)
        report.images += 1
        for thing in inventory.things:
            report.regions += inventory.count(thing)
            report.names[thing.phrase()] += inventory.count(thing)
    if unsure:
        listed = ", ".join(f"{name} in {count}" for name, count in unsure.most_common(_MOST_SHOWN))
        more = f", and {len(unsure) - _MOST_SHOWN} more names" if len(unsure) > _MOST_SHOWN else ""
        report.notes.append(
            f"number and absence are not asked about where not all is outlined: {listed} images{more}"
        )
    return kept


def _one_each(images: Iterable[AnnotatedImage], report: ReadReport) -> list[AnnotatedImage]:
    """Images in their order, those of one file joined."""
    by_file: dict[str, list[AnnotatedImage]] = {}
    for image in images:
        by_file.setdefault(os.path.abspath(image.path), []).append(image)
    joined = []
    for own in by_file.values():
        if len(own) > 1:
            report.repaired["entry of a picture that is listed before, their annotations joined"] += (
                len(own) - 1
            )
        joined.append(reduce(_joined, own))
    return joined


def _joined(first: AnnotatedImage, other: AnnotatedImage) -> AnnotatedImage:
    """Everything of two readings of one picture; a region that both have is taken once."""
    taken = {region.rid for region in first.regions}
    known = {(r.name, r.kind, str(r.rle["counts"])): r.rid for r in first.regions}
    rids: dict[str, str] = {}
    regions: list[AnnotatedRegion] = list(first.regions)
    # Objects first: a part needs the new rid of its object.
    for region in sorted(other.regions, key=lambda r: r.parent is not None):
        same = known.get((region.name, region.kind, str(region.rle["counts"])))
        rids[region.rid] = same or _free(region.rid, taken)
        if same is None:
            taken.add(rids[region.rid])
            parent = None if region.parent is None else rids[region.parent]
            regions.append(replace(region, rid=rids[region.rid], parent=parent))
    listed = [image.absent for image in (first, other) if image.absent is not None]
    # Only what every list calls absent; a list that does not name a thing says nothing of it.
    absent = frozenset.intersection(*listed) if listed else None
    return replace(first, regions=tuple(regions), unsure=first.unsure | other.unsure, absent=absent)


def _free(rid: str, taken: Sequence[str] | set[str]) -> str:
    name, number = rid, 2
    while name in taken:
        name, number = f"{rid}~{number}", number + 1
    return name


def _well_named(image: AnnotatedImage, report: ReadReport) -> AnnotatedImage:
    """Leave out regions whose name cannot stand in a sentence, and the parts of such objects."""
    bad = {region.rid: region for region in image.regions if not is_writable(region.name)}
    for region in bad.values():
        report.drop(
            f"region {region.rid} of {image.path.name}",
            "unusable name",
            expected="a name of printable characters without tags",
            found=repr(region.source_label),
            fix="rename the category or label",
        )
    orphans = [r for r in image.regions if r.parent in bad and r.rid not in bad]
    for region in orphans:
        report.drop(
            f"region {region.rid} of {image.path.name}",
            "part of an object with an unusable name",
            expected="an object whose name can stand in a sentence",
            found=repr(region.source_label),
            fix="rename the category or label of the object",
        )
    regions = tuple(r for r in image.regions if r.rid not in bad and r.parent not in bad)
    return replace(image, regions=regions) if bad else image


def is_writable(text: str) -> bool:
    """Whether a text can stand in a conversation: not blank, one line, UTF-8, no tag of the markup."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return bool(text.strip()) and "\n" not in text and "\0" not in text and not contains_tag(text)
