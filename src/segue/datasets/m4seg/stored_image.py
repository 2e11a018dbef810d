"""The form of an image in the build: cleaned, with boxes, areas and a content hash, one a line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pycocotools import mask as coco_mask

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.language import english
from segue.data.pointing.retakes import file_name, retaken_image
from segue.datasets.stages.stages import file_hash
from segue.masks import RLE, union_rle

MIN_AREA = 64
"""Pixels; smaller masks cannot be drawn by a decoder of 256 x 256 for a photograph of usual size."""
MIN_SHARE = 0.0002
"""Share of the image's pixels, as `MIN_AREA`."""


@dataclass(frozen=True)
class StoredRegion:
    """An object or part; `bbox` is `[x, y, width, height]` in pixels."""

    rid: str
    kind: Literal["object", "part"]
    name: str
    parent: str | None
    rle: RLE
    bbox: tuple[int, int, int, int]
    area: int
    source_label: str


@dataclass(frozen=True)
class StoredImage:
    """One line of the stage.

    Attributes:
        image_id: `source:key`, unique in the build.
        path: The image file, absolute.
        height, width: Pixels.
        split: Of the source.
        sha256: Of the image file; equal for copies.
        regions: Objects, each followed by its parts.
        unsure: As in `AnnotatedImage`; also the names of what was too small to keep.
        absent: As in `AnnotatedImage`.
        counted: Whether objects of one class are told apart, so that their number means something.
        retake: Number of the retake that it is (`segue.data.pointing.retakes`); None for an image of a
            source. Retakes are made when they are needed, and are no lines of the stage.
    """

    image_id: str
    path: str
    height: int
    width: int
    split: str
    sha256: str
    regions: tuple[StoredRegion, ...]
    unsure: frozenset[str] = frozenset()
    absent: frozenset[str] | None = None
    counted: bool = True
    retake: int | None = None

    @property
    def source(self) -> str:
        """The name of its source."""
        return self.image_id.partition(":")[0]

    @cached_property
    def by_rid(self) -> dict[str, StoredRegion]:
        """The regions by identifier."""
        return {region.rid: region for region in self.regions}

    def full_name(self, region: StoredRegion) -> str:
        """Return the name that a region is listed under: "chair", "chair's leg"."""
        if region.parent is None:
            return region.name
        return part_name(self.by_rid[region.parent].name, region.name)

    @property
    def classes(self) -> list[str]:
        """The names of its objects, each once, sorted."""
        return sorted({region.name for region in self.regions if region.kind == "object"})

    @property
    def part_keys(self) -> list[str]:
        """The names of its parts as "chair:leg", each once, sorted."""
        parts = [region for region in self.regions if region.parent is not None]
        return sorted({f"{self.by_rid[part.parent or ''].name}:{part.name}" for part in parts})

    def annotated(self) -> AnnotatedImage:
        """The image as a reader of a data set gives it, under its full identifier."""
        regions = tuple(
            AnnotatedRegion(r.rid, r.kind, r.name, r.parent, r.rle, r.source_label) for r in self.regions
        )
        return AnnotatedImage(
            self.image_id,
            Path(self.path),
            self.height,
            self.width,
            regions,
            self.unsure,
            self.absent,
        )

    def retaken(self, number: int, folder: Path) -> StoredImage:
        """The same photograph seen again, in the form of the stage.

        Args:
            number: Which of `segue.data.pointing.retakes.retakes_of`.
            folder: Of the picture.
        """
        image = self.annotated()
        seen = retaken_image(image, number, folder / file_name(image, number, self.sha256))
        # `stored_image` writes the source before the identifier.
        named = replace(seen, image_id=seen.image_id.partition(":")[2])
        stored = stored_image(named, self.source, self.split, counted=self.counted, sha256=self.sha256)
        assert stored is not None, "a retake is chosen to show what is asked about"
        return replace(stored, retake=number)

    def to_json(self) -> dict[str, Any]:
        """The line."""
        return {
            **{name: getattr(self, name) for name in ("image_id", "path", "height", "width", "split")},
            "sha256": self.sha256,
            "regions": [{**vars(region), "bbox": list(region.bbox)} for region in self.regions],
            "unsure": sorted(self.unsure),
            "absent": None if self.absent is None else sorted(self.absent),
            "counted": self.counted,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StoredImage:
        """Read the line."""
        regions = tuple(StoredRegion(**{**r, "bbox": tuple(r["bbox"])}) for r in data["regions"])
        absent = data["absent"]
        sets = {
            "unsure": frozenset(data["unsure"]),
            "absent": None if absent is None else frozenset(absent),
        }
        return cls(**{**data, "regions": regions, **sets})


def part_name(owner: str, part: str) -> str:
    """The listed name of a part: ("chair", "leg") to "chair's leg"."""
    return f"{english.possessive(owner)} {part}"


# ---- cleaning ----------------------------------------------------------------------------------------------


def stored_image(
    image: AnnotatedImage, source: str, split: str, *, counted: bool = True, sha256: str | None = None
) -> StoredImage | None:
    """Bring an annotated image into the stage's form; None when nothing of it can be named.

    Parts of one name in one object become one mask; what is smaller than `MIN_AREA` or `MIN_SHARE` is left
    out and its name noted as unsure, and parts go with their object.

    Source: PRIMA sec. A.1 merges duplicated parts of ADE20K only; everywhere here, as PACO does. The least
        area is ours.
    """
    least = max(MIN_AREA, MIN_SHARE * image.height * image.width)
    regions: list[StoredRegion] = []
    unsure = set(image.unsure)
    for thing in image.objects:
        region = _stored(thing, thing.rle, None)
        if region.area < least:
            # It is there, only too small to draw: an answer that names it must not count as wrong.
            unsure.add(thing.name)
            continue
        regions.append(region)
        for name, rle, part in _merged_parts(image.parts_of(thing.rid)):
            stored = _stored(part, rle, thing.rid)
            if stored.area < least:
                unsure.add(f"{thing.name}:{name}")
            else:
                regions.append(stored)
    if not regions:
        return None
    return StoredImage(
        f"{source}:{image.image_id}",
        str(image.path.resolve()),
        image.height,
        image.width,
        split,
        file_hash(image.path) if sha256 is None else sha256,
        tuple(regions),
        frozenset(unsure),
        image.absent,
        counted,
    )


def _merged_parts(parts: Iterable[AnnotatedRegion]) -> Iterator[tuple[str, RLE, AnnotatedRegion]]:
    same: dict[str, list[AnnotatedRegion]] = defaultdict(list)
    for part in parts:
        same[part.name].append(part)
    for name, several in same.items():
        yield name, union_rle([part.rle for part in several]), several[0]


def _stored(region: AnnotatedRegion, rle: RLE, parent: str | None) -> StoredRegion:
    # The box from the runs is exact and spares decoding; its reader trusts the runs, so they are checked.
    masks.check_rle(rle)
    # `toBbox` gives floats.
    x, y, width, height = (int(value) for value in coco_mask.toBbox(rle))
    box = (x, y, width, height)
    area = masks.area(rle)
    return StoredRegion(region.rid, region.kind, region.name, parent, rle, box, area, region.source_label)
