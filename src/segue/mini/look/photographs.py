"""Photographs and what is known of them: masks by name, and for which names nothing can be said.

Every source leaves something open. `everyday` annotates twenty kinds and some parts; `clothing` persons and
what they wear, and nothing of the street behind them; `objects` one thing, some only by its label.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segue.data.formats.coco import read_coco
from segue.errors import InputError
from segue.masks import RLE, decode
from segue.mini.photos.labels import MERGED
from segue.models.mini.heat import is_part
from segue.models.mini.names import NameTable
from segue.models.mini.picture import SIDE

Source = Literal["everyday", "clothing", "objects"]


@dataclass(frozen=True)
class Region:
    """One thing or part with its mask.

    Attributes:
        name: of the table.
        single: the mask holds one thing; False where a kind had no boxes, so that it may hold several.
    """

    name: str
    rle: RLE
    single: bool


@dataclass(frozen=True)
class Photograph:
    """A picture and what is known of it.

    Attributes:
        regions: with masks.
        label: the one thing that it shows, where only that is known.
        source: decides what the lack of a name says.
        known: of own data the names of which it is known whether they are there.
    """

    path: Path
    hw: tuple[int, int]
    regions: tuple[Region, ...]
    label: str | None
    source: Source | Literal["own"]
    known: frozenset[str] = frozenset()

    def shown(self) -> frozenset[str]:
        """Names that are known to be there."""
        return frozenset(r.name for r in self.regions) | ({self.label} if self.label else set())


def source_of(file: str | Path, where: str) -> Source:
    """The source of an annotation file: the name of its folder.

    Args:
        file: DATA/everyday/train.json or the like.
        where: it was named, for the message.

    Raises:
        InputError: a source whose gaps are not known.
    """
    name = Path(file).parent.name
    for source in get_args(Source):
        if name == source:
            return cast(Source, source)
    raise InputError(
        "photographs of a source whose gaps are not known",
        expected=" or ".join(f".../{source}/train.json" for source in get_args(Source)),
        found=str(file),
        where=where,
        fix="name one of them; a user's own data are learned by stage finetune",
    )


def read_photographs(root: Path, source: Source, split: str, table: NameTable) -> list[Photograph]:
    """The photographs of a source in the order of its file; those without any usable region keep none.

    Args:
        root: folder that holds `everyday/`, `clothing/` and `objects/`.
        split: "train" or "val".
    """
    home = root / source
    file = home / f"{split}.json"
    records = json.loads(file.read_text(encoding="utf-8"))
    doubtful = {str(a["id"]) for a in records["annotations"] if a.get("mask_quality", "good") != "good"}
    several = {str(a["id"]) for a in records["annotations"] if a.get("count_known") is False}
    read = {image.image_id: image for image in read_coco(file, home)}
    photographs = []
    for entry in records["images"]:
        regions: list[Region] = []
        image = read.get(str(entry["id"]))
        for region in image.regions if image is not None else ():
            whole = next((r.name for r in image.regions if r.rid == region.parent), None) if image else None
            name = name_of(region.name, whole, table)
            if name is not None and region.rid not in doubtful:
                regions.append(Region(name, region.rle, region.rid not in several))
        label = table.find(entry["label"]) if "label" in entry else None
        hw = (int(entry["height"]), int(entry["width"]))
        photographs.append(Photograph(home / entry["file_name"], hw, tuple(regions), label, source))
    return photographs


def name_of(name: str, whole: str | None, table: NameTable) -> str | None:
    """The table's name of an annotated thing or part; None for what has none (jewellery, scarves)."""
    if whole is None:
        return table.find(name)
    part = f"{table.find(whole)} {name}"
    return part if part in table.names else MERGED.get(name)


def coverage(rle: RLE, inside: Sequence[int], grid: int) -> NDArray[np.float32]:
    """How much of each cell of the square a mask covers, `[grid, grid]` from 0 to 1."""
    mask = Image.fromarray(decode(rle).astype(np.uint8) * 255)
    height, width = (max(1, round(int(side) * grid / SIDE)) for side in inside)
    cells = np.zeros((grid, grid), np.float32)
    cells[:height, :width] = np.asarray(mask.resize((width, height), Image.Resampling.BOX), np.float32) / 255
    return cells


def doubts(photograph: Photograph, names: Sequence[str], table: NameTable) -> NDArray[np.float32]:
    """How much the lack of each name counts in cells that show none of it, `[names]` from 0 to 1.

    What a source never annotates may well be there: a car behind the person of `clothing`, a laptop in an
    `everyday` room. Parts are handled cell by cell (`hidden_names`).
    """
    weights = np.ones(len(names), np.float32)
    for column, name in enumerate(names):
        record = table.names[name]
        if photograph.source == "own":
            weights[column] = float(name in photograph.known)
        elif photograph.source == "objects" or (
            photograph.source == "everyday" and name not in EVERYDAY and not is_part(record)
        ):
            weights[column] = 0.3
        elif photograph.source == "clothing" and name in STREET:
            weights[column] = 0.0
    return weights


def hidden_names(photograph: Photograph, names: Sequence[str], table: NameTable) -> dict[str, list[int]]:
    """Whole -> columns of names that may lie on it unannotated, so that its cells say nothing of them."""
    hidden: dict[str, list[int]] = {}
    if photograph.source == "own":
        return hidden
    shown = photograph.shown()
    for column, name in enumerate(names):
        record = table.names[name]
        whole = record.whole or ("person" if is_part(record) else None)
        annotated = photograph.source == "clothing" and not name.startswith("person ")
        if whole in shown and name not in shown and not annotated:
            hidden.setdefault(str(whole), []).append(column)
    return hidden


def known_names(photograph: Photograph, table: NameTable) -> frozenset[str]:
    """Names of which it is known whether the photograph shows them."""
    trained = table.shipped()
    if photograph.source == "own":
        return photograph.known
    if photograph.source == "everyday":
        hidden = hidden_names(photograph, trained, table)
        unsure = {trained[column] for columns in hidden.values() for column in columns}
        parts = {name for name in trained if is_part(table.names[name])}
        return EVERYDAY | (parts - unsure)
    if photograph.source == "clothing":
        worn = {n for n in trained if is_part(table.names[n]) and not n.startswith("person ")}
        return frozenset(worn | {"person"} | (EVERYDAY - STREET - {"person"}))
    whole = {name for name, record in table.names.items() if not is_part(record)}
    return frozenset(whole if photograph.label != "person" else {"person"})


EVERYDAY = frozenset(
    {"cat", "dog", "person", "car", "sheep", "horse", "cow", "train", "bus", "sofa", "chair", "motorcycle"}
    | {"tv", "bicycle", "bottle", "bird", "boat", "airplane", "potted plant", "dining table"}
)
"""Kinds that `everyday` annotates wherever they are."""

STREET = frozenset({"car", "bicycle", "motorcycle", "bus", "train", "chair", "potted plant", "bottle", "dog"})
"""What stands in streets, and `clothing` does not annotate."""
