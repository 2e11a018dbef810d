"""What is known of a photograph: one merged mask, one colour and one brightness per label."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from segue import masks
from segue.data.formats.annotations import AnnotatedImage
from segue.data.formats.coco import CocoReport, read_coco
from segue.errors import ImageError
from segue.files import write_atomic
from segue.images import load_image
from segue.masks import RLE, Mask
from segue.mini.photos.attributes import colour_name, luminance, median_rgb
from segue.mini.photos.labels import LABELS, MERGED

MIN_AREA = 3e-4
"""Smallest fraction of the photo that counts as seen: 40 pixels of 448 x 297. What is smaller is neither
there nor absent, because a thing of that size and an annotator's slip look the same."""

_CACHE_VERSION = 3
"""Raise it with every change of the colour rule or of what is measured."""
_LOWER = frozenset({"trousers", "skirt", "dress", "shorts"})
_BESIDE_NO_DRESS = _LOWER - {"dress"} | {"top"}


@dataclass(frozen=True)
class LabelFacts:
    """What is known of one label in one photo.

    Attributes:
        area: Fraction of the photo.
        colour: Name of the median colour.
        luminance: Brightness of the median colour, 0..255.
        raw: Raw names of the united parts, largest first.
    """

    area: float
    colour: str
    luminance: float
    raw: tuple[str, ...] = ()


@dataclass(frozen=True)
class PhotoFacts:
    """All that a question about one photo may rest on.

    Attributes:
        labels: Facts per label that is certainly there.
        uncertain: Labels of which neither presence nor absence may be claimed.
    """

    labels: Mapping[str, LabelFacts]
    uncertain: frozenset[str] = frozenset()

    def has(self, label: str) -> bool:
        """The label is certainly there."""
        return label in self.labels and label not in self.uncertain

    def lacks(self, label: str) -> bool:
        """The label is certainly absent."""
        return label not in self.labels and label not in self.uncertain


@dataclass(frozen=True)
class PhotoRecord:
    """One photograph with its merged masks and facts.

    Attributes:
        image_id: Identifier in its source.
        path: The image file.
        hw: Size `(height, width)`.
        rles: Compressed mask per label, also those too small to be asked for.
        facts: What questions may rest on.
    """

    image_id: str
    path: Path
    hw: tuple[int, int]
    rles: Mapping[str, RLE]
    facts: PhotoFacts

    def mask(self, label: str) -> Mask:
        """Mask of a label, bool `[height, width]`; all False where it is absent."""
        if label not in self.rles:
            return np.zeros(self.hw, dtype=bool)
        return masks.decode(self.rles[label])


@dataclass
class PhotoSet(list[PhotoRecord]):
    """The photographs of one annotation file, and what reading it dropped."""

    report: CocoReport | None = None
    unreadable: list[str] = field(default_factory=list)

    def __init__(
        self, records: list[PhotoRecord], report: CocoReport | None = None, unreadable: Any = ()
    ) -> None:
        super().__init__(records)
        self.report = report
        self.unreadable = list(unreadable)


def load_photo_facts(
    coco_json: str | Path, images_dir: str | Path | None = None, *, cache: str | Path | None = None
) -> PhotoSet:
    """Read a PACO-style file of persons and what they wear.

    Args:
        coco_json: Annotation file with the object `person` and parts `person:<raw name>`.
        images_dir: Folder that its `file_name`s are relative to; by default the JSON's own folder.
        cache: JSON file to keep the result in. It is used again only for the same annotation file (by
            content), the same folder and the same label table; otherwise it is written anew, atomically.

    Returns:
        A list of records in file order, with `.report` (None when read from the cache) and `.unreadable`, the
        photographs whose file cannot be decoded or has another size than annotated.
    """
    coco_json = Path(coco_json)
    images_dir = coco_json.parent if images_dir is None else Path(images_dir)
    key = _cache_key(coco_json, images_dir)
    if cache is not None:
        records = _read_cache(Path(cache), key)
        if records is not None:
            return PhotoSet(records)
    annotations = read_coco(coco_json, images_dir)
    records, unreadable = [], []
    for annotated in annotations:
        try:
            record = photo_record(annotated)
        except ImageError as error:
            unreadable.append(f"{annotated.path}: {error}")
            continue
        if record is None:
            unreadable.append(f"{annotated.path}: not one person")
        else:
            records.append(record)
    if cache is not None:
        _write_cache(Path(cache), key, records)
    return PhotoSet(records, annotations.report, unreadable)


def photo_record(annotated: AnnotatedImage) -> PhotoRecord | None:
    """Merge the raw parts of a photo with exactly one person and measure each label.

    Args:
        annotated: The photo's annotations.

    Returns:
        The record, or None when there is not exactly one person: "the person in image 1" would be ambiguous.

    Raises:
        ImageError: The file cannot be read, or its size is not the annotated one.
    """
    if [region.name for region in annotated.objects].count("person") != 1:
        return None
    image = np.asarray(load_image(annotated.path))
    if image.shape[:2] != annotated.hw:
        raise ImageError(
            "Photo and annotation differ in size",
            expected=f"height x width {annotated.hw}",
            found=str(image.shape[:2]),
            where=str(annotated.path),
        )
    raw: dict[str, list[tuple[int, str, RLE]]] = {}
    for region in annotated.regions:
        label = MERGED.get(region.name)
        if label is not None and (region.kind == "part" or region.name == "person"):
            raw.setdefault(label, []).append((region.area, region.name, region.rle))
    rles: dict[str, RLE] = {}
    labels: dict[str, LabelFacts] = {}
    uncertain: set[str] = set()
    for label in (name for name in LABELS if name in raw):
        parts = sorted(raw[label], key=lambda part: -part[0])
        merged = coco_mask.merge([rle for _, _, rle in parts])
        rles[label] = {"size": list(annotated.hw), "counts": merged["counts"].decode()}
        area = int(coco_mask.area(merged)) / (annotated.height * annotated.width)
        if area < MIN_AREA:
            uncertain.add(label)
            continue
        rgb = median_rgb(image, coco_mask.decode(merged).astype(bool))
        names = tuple(dict.fromkeys(name for _, name, _ in parts))
        labels[label] = LabelFacts(round(area, 5), colour_name(rgb), round(luminance(rgb), 1), names)
    if "coat" in labels and "suit" in labels["coat"].raw and not _LOWER & labels.keys():
        uncertain.add("trousers")  # one mask "suit" then covers jacket and trousers
    if "dress" in labels and _BESIDE_NO_DRESS & labels.keys():
        # Annotators called many a skirt below a top a dress. Looked at without knowing which they are, none
        # of the 13 such photographs of `clothing/val` surely shows a dress, and 14 of the 17 others do.
        uncertain |= {"dress", "skirt"}
    facts = PhotoFacts(labels, frozenset(uncertain))
    return PhotoRecord(annotated.image_id, annotated.path, annotated.hw, rles, facts)


def as_annotated(records: Sequence[PhotoRecord]) -> list[PhotoRecord]:
    """The same photographs without a doubt of what is annotated or not; what is too small stays in doubt."""
    return [
        replace(r, facts=PhotoFacts(r.facts.labels, frozenset(r.rles.keys() - r.facts.labels.keys())))
        for r in records
    ]


def _cache_key(coco_json: Path, images_dir: Path) -> dict[str, Any]:
    content = coco_json.read_bytes() if coco_json.is_file() else b""
    table = json.dumps([MERGED, MIN_AREA], sort_keys=True).encode()
    return {
        "version": _CACHE_VERSION,
        "annotations": hashlib.sha256(content).hexdigest(),
        "labels": hashlib.sha256(table).hexdigest(),
        "images_dir": str(images_dir.resolve()),
    }


def _read_cache(path: Path, key: dict[str, Any]) -> list[PhotoRecord] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["key"] != key:
            return None
        return [_record_from_json(entry) for entry in data["records"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent or damaged: computed again


def _record_from_json(entry: dict[str, Any]) -> PhotoRecord:
    labels = {
        name: LabelFacts(**{**facts, "raw": tuple(facts["raw"])}) for name, facts in entry["labels"].items()
    }
    facts = PhotoFacts(labels, frozenset(entry["uncertain"]))
    height, width = entry["hw"]
    return PhotoRecord(entry["image_id"], Path(entry["path"]), (height, width), entry["rles"], facts)


def _write_cache(path: Path, key: dict[str, Any], records: list[PhotoRecord]) -> None:
    entries = [
        {
            "image_id": record.image_id,
            "path": str(record.path),
            "hw": list(record.hw),
            "rles": dict(record.rles),
            "labels": {name: asdict(facts) for name, facts in record.facts.labels.items()},
            "uncertain": sorted(record.facts.uncertain),
        }
        for record in records
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({"key": key, "records": entries}))
