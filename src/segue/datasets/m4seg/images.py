"""Stage 1: every source's images in one form (`stored_image.py`), one a line.

Later stages name an image by its row, so that nothing holds a list of all of them; `ImageStore` reads one
line by its offset (`image_store.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from segue.data.sources import ImageSource
from segue.data.sources.source import Unusable
from segue.datasets.m4seg.image_store import ImageStore, ImageTable
from segue.datasets.m4seg.stored_image import (
    MIN_AREA,
    MIN_SHARE,
    StoredImage,
    StoredRegion,
    part_name,
    stored_image,
)
from segue.datasets.sources import open_source
from segue.datasets.stages.stages import MapFn, ShardWriter, StageOutput, batches, run_stage
from segue.errors import InputError

__all__ = [
    "ImageStore",
    "ImageTable",
    "ReadImages",
    "SourceSpec",
    "StoredImage",
    "StoredRegion",
    "labelled",
    "part_name",
    "read_images",
    "stored_image",
    "vocabulary_of",
]

VERSION = 1
SHARD = 500


@dataclass(frozen=True)
class SourceSpec:
    """How to open a source again in another process.

    Attributes:
        name: One of `segue.datasets.sources.SOURCES`.
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
        """Beginning of the ids of its images."""
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
        # A source is opened once in a process and its report counts over all its chunks; what belongs to this
        # shard is the difference.
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
        # Sampling needs classes and hashes of all images: this line is short, where that of "images" has
        # every mask.
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
    # All are looked at before the first is read: a wrong folder in the last place shall not show after hours.
    for source in sources:
        source.check()
    chunks = [
        (spec, keys)
        for spec, source in zip(specs, sources, strict=True)
        for keys in batches(source.keys(), SHARD)
    ]
    config = {"version": VERSION, "min_area": MIN_AREA, "min_share": MIN_SHARE, "shard": SHARD}
    # The number is part of the key: later stages name images by row, and rows follow the order of the
    # sources.
    inputs = {
        f"{n} {spec.prefix} {spec.split}": source.fingerprint()
        for n, (spec, source) in enumerate(zip(specs, sources, strict=True))
    }
    # Lines hold absolute paths of image files. A download that moved keeps its fingerprint and must be read
    # anew.
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
            # An object without parts is a name as well: this makes its entry.
            names[owner] |= set()
        for key in line["parts"]:
            owner, _, part = key.partition(":")
            names[owner].add(part)
    return dict(names)
