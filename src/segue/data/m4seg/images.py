"""Stage 1: every source's images in one form, cleaned, with boxes, areas and content hashes, one a line.

Later stages name an image by its row, so that nothing holds a list of all of them; `ImageStore` reads one
line by its offset.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from segue import masks
from segue.data.annotations import AnnotatedImage, AnnotatedRegion
from segue.data.own import english
from segue.data.sources import ImageSource, open_source
from segue.data.sources.source import Unusable
from segue.data.stages import MapFn, ShardWriter, StageOutput, StoredLines, batches, file_hash, run_stage
from segue.errors import InputError
from segue.masks import RLE

VERSION = 1
SHARD = 500
MIN_AREA = 64
"""Pixels; smaller masks cannot be drawn by a decoder of 256 x 256 for a photograph of usual size."""
MIN_SHARE = 0.0002
"""Of the image's pixels, as `MIN_AREA`."""


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

    @property
    def source(self) -> str:
        """The name of its source."""
        return self.image_id.partition(":")[0]

    @cached_property
    def by_rid(self) -> dict[str, StoredRegion]:
        """The regions by identifier."""
        return {region.rid: region for region in self.regions}

    def full_name(self, region: StoredRegion) -> str:
        """What a region is listed as: "chair", "chair's leg"."""
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
        rle = several[0].rle
        if len(several) > 1:
            merged = coco_mask.merge([part.rle for part in several])
            rle = {"size": [int(n) for n in merged["size"]], "counts": merged["counts"].decode("ascii")}
        yield name, rle, several[0]


def _stored(region: AnnotatedRegion, rle: RLE, parent: str | None) -> StoredRegion:
    # The box from the runs is exact and spares decoding; its reader trusts the runs, so they are checked.
    masks.check_rle(rle)
    x, y, width, height = (int(value) for value in coco_mask.toBbox(rle))
    box = (x, y, width, height)
    area = masks.area(rle)
    return StoredRegion(region.rid, region.kind, region.name, parent, rle, box, area, region.source_label)


# ---- the stage ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SourceSpec:
    """How to open a source again in another process.

    Attributes:
        name: One of `segue.data.sources.SOURCES`.
        root: Folder or file of the download.
        split: One of the source's splits.
        options: For `open_source`, as sorted pairs so that the spec can be a key.
        label: What image ids begin with; the name, unless two folders of one kind are given.
    """

    name: str
    root: str
    split: str = "train"
    options: tuple[tuple[str, Any], ...] = field(default=())
    label: str = ""

    @property
    def prefix(self) -> str:
        """What image ids of it begin with."""
        return self.label or self.name

    def open(self) -> ImageSource:
        """Open it; once in each process."""
        return _opened(self)


@lru_cache(maxsize=16)
def _opened(spec: SourceSpec) -> ImageSource:
    return open_source(spec.name, spec.root, split=spec.split, **dict(spec.options))


class ReadImages:
    """The work of the stage: read the images of some keys of one source."""

    def __call__(self, chunk: tuple[SourceSpec, Sequence[str]], shard: ShardWriter) -> None:
        spec, keys = chunk
        source = spec.open()
        told = {name: getattr(source.report, name).copy() for name in ("dropped", "repaired", "noticed")}
        for key in keys:
            shard.count("images listed")
            try:
                image = source.read(key)
            except Unusable as problem:
                shard.count(f"dropped in {spec.name}: {problem.args[0]}")
                continue
            stored = stored_image(image, spec.prefix, spec.split, counted=source.has_instances)
            if stored is None:
                shard.count(f"dropped in {spec.name}: nothing large enough in the image")
                continue
            self._write(stored, shard)
        for name, before in told.items():
            for reason, number in (getattr(source.report, name) - before).items():
                shard.count(f"{name} in {spec.name}: {reason}", number)

    def _write(self, image: StoredImage, shard: ShardWriter) -> None:
        shard.line("images", image.to_json())
        told = {"id": image.image_id, "sha256": image.sha256, "split": image.split}
        shard.line("index", {**told, "classes": image.classes, "parts": image.part_keys})
        objects = sum(region.kind == "object" for region in image.regions)
        shard.count("images")
        shard.count("objects", objects)
        shard.count("parts", len(image.regions) - objects)


def read_images(
    folder: Path, specs: Sequence[SourceSpec], *, map_fn: MapFn = map, progress: bool = True
) -> StageOutput:
    """Run the stage over all sources, in their order.

    Raises:
        InputError: A source cannot be opened, two are the same, or none keeps an image.
    """
    if len(set(specs)) < len(specs) or not specs:
        raise InputError(
            "There is nothing to build from." if not specs else "A source is given twice.",
            expected="one or more different sources",
            found=", ".join(f"{spec.name} {spec.root} ({spec.split})" for spec in specs) or "none",
            where="sources",
            fix="give each folder once",
        )
    specs = labelled(specs)
    sources = [spec.open() for spec in specs]
    for source in sources:
        source.check()
    chunks = [
        (spec, keys)
        for spec, source in zip(specs, sources, strict=True)
        for keys in batches(source.keys(), SHARD)
    ]
    config = {"version": VERSION, "min_area": MIN_AREA, "min_share": MIN_SHARE, "shard": SHARD}
    inputs = {
        f"{n} {spec.prefix} {spec.split}": source.fingerprint()
        for n, (spec, source) in enumerate(zip(specs, sources, strict=True))
    }
    config["roots"] = [str(Path(spec.root).resolve()) for spec in specs]  # type: ignore[assignment]
    output = run_stage(
        folder,
        chunks,
        ReadImages(),
        config=config,
        inputs=inputs,
        map_fn=map_fn,
        total=len(chunks),
        progress=progress,
    )
    if not output.total("images"):
        reasons = ", ".join(f"{what} ({number})" for what, number in output.counts().most_common())
        raise InputError(
            "The sources hold no image that can be used.",
            expected="annotated images",
            found=reasons or "nothing",
            where=", ".join(spec.root for spec in specs),
            fix="check the folders and the splits",
        )
    return output


def labelled(specs: Sequence[SourceSpec]) -> list[SourceSpec]:
    """Tell several folders of one kind apart: the second COCO file's images are `coco_2:...`."""
    roots: dict[str, list[str]] = defaultdict(list)
    told = []
    for spec in specs:
        if spec.root not in roots[spec.name]:
            roots[spec.name].append(spec.root)
        number = roots[spec.name].index(spec.root) + 1
        label = spec.label or (spec.name if number == 1 else f"{spec.name}_{number}")
        told.append(replace(spec, label=label))
    return told


def vocabulary_of(output: StageOutput, specs: Sequence[SourceSpec]) -> dict[str, set[str]]:
    """Every object with its parts that the sources can name: their own lists, and what the images hold."""
    names: dict[str, set[str]] = defaultdict(set)
    for spec in specs:
        for owner, parts in spec.open().vocabulary().items():
            names[owner] |= set(parts)
    for line in output.lines("index"):
        for owner in line["classes"]:
            names[owner] |= set()
        for key in line["parts"]:
            owner, _, part = key.partition(":")
            names[owner].add(part)
    return dict(names)


# ---- reading -----------------------------------------------------------------------------------------------


class ImageStore:
    """The images of the stage by row, read from disk when they are asked for; picklable.

    Args:
        output: The complete stage.
    """

    def __init__(self, output: StageOutput) -> None:
        self._lines = StoredLines(output, "images")

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, row: int) -> StoredImage:
        return _stored_image(self._lines, row)


@lru_cache(maxsize=256)
def _stored_image(lines: StoredLines, row: int) -> StoredImage:
    """One image; neighbours are asked for again and again, hence the cache."""
    return StoredImage.from_json(lines[row])


@dataclass(frozen=True)
class ImageTable:
    """What sampling needs to know of every image, in arrays of a few bytes an image.

    Attributes:
        source: `[N]` index into `sources`.
        copies: `[N]` equal for image files of equal content.
        chance: `[N]` in [0, 1), from the content hash: which images are for testing.
        class_rows: Class name -> its rows, ascending.
        sources: Names.
        source_split: `[N]` index into `splits`.
        splits: Names of the sources' own splits.
        ids: `[N]` image ids as bytes.
    """

    source: NDArray[np.int16]
    copies: NDArray[np.int64]
    chance: NDArray[np.float64]
    class_rows: dict[str, NDArray[np.int64]]
    sources: tuple[str, ...]
    source_split: NDArray[np.int16]
    splits: tuple[str, ...]
    ids: NDArray[np.bytes_]

    def __len__(self) -> int:
        return len(self.source)

    def image_id(self, row: int) -> str:
        """The id of an image."""
        return bytes(self.ids[row]).decode()

    @classmethod
    def read(cls, output: StageOutput) -> ImageTable:
        """Read the stage's index."""
        count = output.total("index")
        source, split = np.zeros(count, np.int16), np.zeros(count, np.int16)
        content = np.zeros(count, np.uint64)
        ids: list[NDArray[np.bytes_]] = []
        some: list[bytes] = []
        sources: dict[str, int] = {}
        splits: dict[str, int] = {}
        rows: dict[str, list[int]] = defaultdict(list)
        for row, line in enumerate(output.lines("index")):
            source[row] = sources.setdefault(line["id"].partition(":")[0], len(sources))
            split[row] = splits.setdefault(line["split"], len(splits))
            some.append(line["id"].encode())
            if len(some) == SHARD or row == count - 1:
                ids.append(np.asarray(some, np.bytes_))
                some = []
            content[row] = int(line["sha256"][:16], 16)
            for name in line["classes"]:
                rows[name].append(row)
        copies = np.unique(content, return_inverse=True)[1]
        classes = {name: np.asarray(rows[name], np.int64) for name in sorted(rows)}
        chance = content.astype(np.float64) / 2.0**64
        return cls(source, copies, chance, classes, tuple(sources), split, tuple(splits), np.concatenate(ids))
