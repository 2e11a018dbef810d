"""Small stored images, described by names and boxes, for the tests of M4SEG."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segue import masks
from segue.datasets.m4seg.absence import lexicon_of
from segue.datasets.m4seg.images import SourceSpec, StoredImage, StoredRegion
from segue.datasets.m4seg.lexicon import Lexicon
from segue.datasets.m4seg.listing import Listing, list_images
from segue.scenes.build import build

Box = tuple[int, int, int, int]
VOCABULARY: dict[str, set[str]] = {
    "chair": {"leg", "seat", "back", "arm"},
    "table": {"leg", "top"},
    "dining table": {"leg"},
    "cat": {"head", "tail", "ear"},
    "dog": {"head", "tail"},
    "person": {"head", "hand"},
    "bus": {"wheel"},
    "bottle": {"cap"},
    "can": set(),
    "watch": set(),
    "potted plant": {"pot"},
    "knife": {"blade", "handle"},
}


def stored(
    number: int,
    things: Sequence[tuple[str, Box, Mapping[str, Box]]],
    *,
    unsure: Sequence[str] = (),
    absent: Sequence[str] | None = None,
    hw: tuple[int, int] = (120, 160),
    counted: bool = True,
) -> StoredImage:
    """An image with rectangular objects and parts, boxes as x, y, width, height."""
    regions: list[StoredRegion] = []

    def add(rid: str, kind: str, name: str, parent: str | None, box: Box) -> None:
        mask = np.zeros(hw, bool)
        x, y, width, height = box
        mask[y : y + height, x : x + width] = True
        rle = masks.encode(mask)
        label = name if parent is None else f"{parent}:{name}"
        regions.append(
            StoredRegion(rid, kind, name, parent, rle, box, width * height, label)  # type: ignore[arg-type]
        )

    for n, (name, box, parts) in enumerate(things, start=1):
        add(f"{n}", "object", name, None, box)
        for m, (part, inner) in enumerate(parts.items(), start=1):
            add(f"{n}p{m}", "part", part, f"{n}", inner)
    return StoredImage(
        f"made:{number}",
        f"/made/{number}.png",
        hw[0],
        hw[1],
        "train",
        f"{number * 2**44:064x}",
        tuple(regions),
        frozenset(unsure),
        None if absent is None else frozenset(absent),
        counted,
    )


@cache
def lexicon() -> Lexicon:
    return lexicon_of(VOCABULARY)


def living_room() -> StoredImage:
    """chair 101 (leg 10101, seat 10102), chair 102 (leg 10201), cat 103 (head 10301, tail 10302)."""
    return stored(
        1,
        [
            ("chair", (0, 0, 60, 80), {"seat": (5, 40, 40, 10), "leg": (5, 60, 10, 20)}),
            ("chair", (90, 0, 50, 60), {"leg": (95, 50, 8, 10)}),
            ("cat", (70, 80, 40, 30), {"head": (70, 80, 10, 10), "tail": (100, 100, 10, 8)}),
        ],
    )


def dining_room() -> StoredImage:
    """dining table 201 (leg 20101), chair 202 (leg 20201, seat 20202), cat 203 (head 20301)."""
    return stored(
        2,
        [
            ("dining table", (20, 20, 100, 80), {"leg": (25, 80, 10, 20)}),
            ("chair", (120, 30, 30, 60), {"leg": (122, 80, 5, 10), "seat": (121, 60, 28, 8)}),
            ("cat", (0, 90, 30, 25), {"head": (0, 90, 12, 10)}),
        ],
    )


def kitchen() -> StoredImage:
    """knife 301 (blade 30101, handle 30102), bottle 302; counted, with nothing else."""
    return stored(
        3,
        [
            ("knife", (10, 10, 80, 20), {"blade": (10, 10, 50, 20), "handle": (60, 10, 30, 20)}),
            ("bottle", (100, 10, 20, 60), {}),
        ],
    )


@cache
def two_rooms() -> Listing:
    return list_images([living_room(), dining_room()])


@cache
def three_rooms() -> Listing:
    return list_images([living_room(), dining_room(), kitchen()])


class Thumbnails:
    """An embedder without a model: the image at 4 x 4."""

    name = "thumbnails"
    digest = "1"
    dim = 48
    near_duplicate = 1e-6

    def __call__(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        small = [np.asarray(image.convert("RGB").resize((4, 4)), np.float32) - 128 for image in images]
        return np.stack(small).reshape(len(images), -1)


def scene_specs(folder: Path) -> list[SourceSpec]:
    """Draw a few small scenes into a folder, once, and open them."""
    build(folder, seed=3, count=11, split="train", size=96, progress=False)
    return [SourceSpec("scenes", str(folder), "train")]
