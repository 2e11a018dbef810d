"""ADE20K-Part-234 of OV-PARTS: objects from COCO JSON, their parts from 16-bit label maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.formats.coco import read_image
from segue.data.formats.coco_categories import Categories
from segue.data.formats.coco_report import CocoReport, UnusableRecord
from segue.data.formats.frames import UnclearFrame
from segue.data.formats.identifiers import identifier
from segue.data.sources.indexed import IndexedSource
from segue.data.sources.label_map import LABEL_MAP_ADVICE, read_label_map
from segue.data.sources.layout import Layout, locate
from segue.data.sources.source import Unusable
from segue.data.sources.taxonomy import NumberedClasses
from segue.errors import RecordError

_FOLDERS = {"train": "training", "val": "validation"}
_PARTS = "annotations_detectron2_part"
_ARM, _HEAD = 0, 5
"""Part numbers of a person; the check of their order looks at these two."""
# Persons: at most so many with arms and head are looked at, and fewer than `_FEWEST_JUDGED` decide nothing.
_MOST_JUDGED = 24
_FEWEST_JUDGED = 5


class Ade20kPart(IndexedSource):
    """ADE20K-Part-234: the part of an object is the part map within the object's mask.

    The map knows no instances of parts: the two wheels of one car are one region, those of two cars are two.
    Only parts of the object's own class count. Number 0 is a part ("person's arm"); 65535 is none.

    Args:
        root: Holds `images/`, `annotations_detectron2_part/` and `ade20k_instance_{train,val}.json`; the
            folder is called ADE20KPart234 or ADE20K-Part-234.
        split: "train" or "val".

    Source: OV-PARTS' loader and lists; checks are ours.
    """

    name = "ade20k_part"
    splits = ("train", "val")
    advice = {**IndexedSource.advice, **LABEL_MAP_ADVICE}

    def __init__(self, root: Path, split: str = "train") -> None:
        super().__init__(root, split)
        folder = _FOLDERS[split]
        needed = ((f"ade20k_instance_{split}.json",), (f"images/{folder}",), (f"{_PARTS}/{folder}",))
        self.root = locate(root, Layout(self.name, needed, "unpack ADE20KPart234.tar.gz"))
        self.images, self.parts = self.root / "images" / folder, self.root / _PARTS / folder
        self.file = self.root / f"ade20k_instance_{split}.json"
        self.classes = NumberedClasses.named("ade20k_part_234")
        self._parts_of = {name: self.classes.parts_of(name) for name in self.classes.objects.values()}

    @cached_property
    def _categories(self) -> Categories:
        """The file's own, which count from 0, or the published order without them."""
        listed = self._index.categories
        return Categories(listed or [{"id": n, "name": name} for n, name in self.classes.objects.items()])

    def annotation_files(self) -> Iterator[Path]:
        yield from super().annotation_files()
        yield from sorted(path for path in self.parts.glob("*.png") if not path.name.startswith("."))

    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        return self.classes.vocabulary()

    def check(self) -> None:
        super().check()
        unknown = sorted(set(self._categories) - set(self.classes.objects.values()))
        if unknown:
            self.report.notes.append(f"categories that are none of the 44 objects: {', '.join(unknown)}")
        self._check_order()

    def read(self, key: str) -> AnnotatedImage:
        image, annotations = self._listed(key)
        numbers = read_label_map(self.parts / f"{image.path.stem}.png", image.hw, bits=16)
        listed = {
            identifier(annotation.get("id")): annotation.get("part_category_id") for annotation in annotations
        }
        regions: list[AnnotatedRegion] = []
        covered = np.zeros(image.hw, bool)
        for region in image.objects:
            inside = coco_mask.decode(region.rle).astype(bool)
            covered |= inside
            parts = list(self._parts(region, inside, numbers, listed.get(region.rid)))
            regions += [region, *parts]
        self._judge(numbers, covered)
        # Objects that carry no part are not listed, so nothing is known to be absent.
        return replace(image, image_id=image.path.stem, regions=tuple(regions), absent=frozenset())

    def _parts(
        self, region: AnnotatedRegion, inside: NDArray[Any], numbers: NDArray[Any], listed: Any
    ) -> Iterator[AnnotatedRegion]:
        names = self._parts_of.get(region.name, {})
        present = [number for number in np.unique(numbers[inside]).tolist() if number in names]
        if isinstance(listed, list) and set(listed) != set(present):
            self.report.noticed["parts listed for an object differ from its part map"] += 1
        for number in present:
            rle = masks.encode(inside & (numbers == number))
            rid, label = f"{region.rid}p{number}", f"{region.name}'s {names[number]}"
            yield AnnotatedRegion(rid, "part", names[number], region.rid, rle, label)

    def _judge(self, numbers: NDArray[Any], covered: NDArray[Any]) -> None:
        labelled = numbers != self.classes.no_part
        if (labelled & ~covered).any():
            self.report.noticed["image with part pixels outside every listed object, left out"] += 1
        if (labelled & (numbers >= len(self.classes.parts))).any():
            self.report.noticed["image with numbers of no known part in its part map, left out"] += 1

    def _check_order(self) -> None:
        """Make sure that 0 is a person's arm, as in the published list, by where it lies.

        Another list of the same 234 names goes around in which 0 is the head and 5 the neck. It keeps every
        object's block of numbers, so no check of single parts would notice.
        """
        below = above = 0
        for key in self.keys():
            if below + above >= _MOST_JUDGED:
                break
            for arm, head in self._heights(key):
                below, above = below + (arm > head), above + (arm < head)
        # Some people raise their arms, so only a clear majority counts.
        if below + above >= _FEWEST_JUDGED and above > 2 * below:
            raise RecordError(
                "The part maps number the parts in another order than ADE20K-Part-234's list.",
                expected="0 is a person's arm and 5 a person's head, so that 0 lies lower in the image",
                found=f"0 lies higher in {above} of {below + above} persons",
                where=str(self.parts),
                fix="use the maps of the published archive",
            )

    def _heights(self, key: str) -> Iterator[tuple[float, float]]:
        """Mean rows of the arms and of the head of each person of an image that has both."""
        entry, annotations = self._index.image(key)
        persons = [a for a in annotations if self._categories.name(a.get("category_id")) == "person"]
        parts = [a.get("part_category_id") for a in persons]
        if not any(not isinstance(listed, list) or {_ARM, _HEAD} <= set(listed) for listed in parts):
            return
        try:
            # With a report that is thrown away: the image is counted when it is read for good.
            image = read_image(entry, persons, self._reading, CocoReport(self.file))
            numbers = read_label_map(self.parts / f"{image.path.stem}.png", image.hw, bits=16)
        except (UnusableRecord, UnclearFrame, Unusable):
            return
        for region in image.objects:
            inside = coco_mask.decode(region.rle).astype(bool)
            rows = [np.nonzero(inside & (numbers == number))[0] for number in (_ARM, _HEAD)]
            if all(len(found) for found in rows):
                yield float(rows[0].mean()), float(rows[1].mean())
