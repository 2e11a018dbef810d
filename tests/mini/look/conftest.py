"""Three tiny sources of photographs in the layouts of the real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segue import masks

Box = tuple[int, int, int, int]
"""Top, left, bottom, right."""


class Source:
    """One COCO file under construction."""

    def __init__(self, home: Path, split: str) -> None:
        self.home, self.split = home, split
        self.content: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": [], "categories": []}

    def category(self, name: str) -> int:
        known = {c["name"]: int(c["id"]) for c in self.content["categories"]}
        if name not in known:
            known[name] = len(known) + 1
            self.content["categories"].append({"id": known[name], "name": name})
        return known[name]

    def image(self, height: int, width: int, **more: Any) -> int:
        number = len(self.content["images"]) + 1
        rng = np.random.default_rng(number)
        file = self.home / self.split / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(file)
        entry = {"id": number, "file_name": f"{self.split}/{number}.png", "height": height, "width": width}
        self.content["images"].append(entry | more)
        return number

    def region(self, image: int, name: str, box: Box, owner: int | None = None, **more: Any) -> int:
        entry = self.content["images"][image - 1]
        mask = np.zeros((entry["height"], entry["width"]), bool)
        mask[box[0] : box[2], box[1] : box[3]] = True
        number = len(self.content["annotations"]) + 1
        annotation = {
            "id": number,
            "image_id": image,
            "category_id": self.category(name),
            "segmentation": masks.encode(mask),
            "area": int(mask.sum()),
            "bbox": masks.box(mask),
            "iscrowd": 0,
            "obj_ann_id": owner or number,
        }
        self.content["annotations"].append(annotation | more)
        return number

    def write(self) -> None:
        (self.home / f"{self.split}.json").write_text(json.dumps(self.content))


def write_everyday(home: Path, split: str) -> None:
    source = Source(home, split)
    two = source.image(80, 120)
    left = source.region(two, "dog", (20, 10, 70, 50), count_known=True)
    source.region(two, "dog", (20, 70, 70, 110), count_known=True)
    source.region(two, "dog:head", (20, 10, 40, 30), owner=left)
    flock = source.image(120, 80)
    source.region(flock, "sheep", (60, 0, 120, 80), count_known=False)
    person = source.image(80, 120)
    source.region(person, "person", (5, 40, 75, 80), count_known=True)
    source.region(person, "sofa", (40, 0, 80, 120), count_known=True)
    source.image(64, 64)
    source.write()


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `everyday/` (train, val), `clothing/` and `objects/`."""
    root = tmp_path_factory.mktemp("photographs")
    write_everyday(root / "everyday", "train")
    write_everyday(root / "everyday", "val")
    clothing = Source(root / "clothing", "train")
    for _ in range(2):
        street = clothing.image(150, 100)
        wearer = clothing.region(street, "person", (10, 30, 140, 70))
        clothing.region(street, "person:jeans", (70, 30, 130, 70), owner=wearer)
        clothing.region(street, "person:necklace", (20, 40, 24, 60), owner=wearer)
    clothing.write()
    objects = Source(root / "objects", "train")
    for quality in ("good", "doubt"):
        alone = objects.image(60, 90, label="wrench", mask_quality=quality)
        objects.region(alone, "wrench", (10, 10, 50, 80), mask_quality=quality)
    objects.write()
    return root
