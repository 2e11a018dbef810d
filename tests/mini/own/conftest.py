"""A small start model, and own data: traffic cones with a left and a right stripe, and dogs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segue import masks
from segue.data.own import read_own_data
from segue.mini.assemble import assemble
from segue.mini.talk.build import build_talking, talking_tokenizer
from segue.mini.talk.kinds import known_kinds
from segue.models.mini.seeing import SeeingConfig, SeeingModel

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
CATEGORIES = ("zorble", "zorble:left stripe", "zorble:right stripe", "dog")


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of an untrained embedded model."""
    torch.manual_seed(0)
    talking = build_talking(talking_tokenizer(known_kinds(), conversations=40), **SMALL)
    seeing = SeeingModel(SeeingConfig())
    for buffer in (seeing.seeing.eyes.presence.trained_at, seeing.seeing.eyes.presence.folded_at):
        buffer.copy_(torch.linspace(-3, 3, buffer.shape[1]))
    model, processor = assemble(*talking, seeing)
    folder = tmp_path_factory.mktemp("start")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def write_own(folder: Path, count: int = 4) -> Path:
    """Pictures of noise, the first half with a zorble and its stripes, the others with a dog."""
    rng = np.random.default_rng(3)
    content: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(CATEGORIES)],
    }

    def annotate(image: int, category: int, box: tuple[int, int, int, int], owner: int | None = None) -> int:
        mask = np.zeros((40, 60), bool)
        mask[box[0] : box[2], box[1] : box[3]] = True
        number = len(content["annotations"]) + 1
        content["annotations"].append(
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "segmentation": masks.encode(mask),
                "area": int(mask.sum()),
                "bbox": masks.box(mask),
                "iscrowd": 0,
                "obj_ann_id": owner or number,
            }
        )
        return number

    for number in range(1, count + 1):
        name = f"{number}.png"
        picture = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / name)
        content["images"].append({"id": number, "file_name": name, "height": 40, "width": 60})
        if number <= count // 2:
            whole = annotate(number, 1, (5, 5, 35, 55))
            annotate(number, 2, (5, 5, 35, 20), whole)
            annotate(number, 3, (5, 40, 35, 55), whole)
        else:
            annotate(number, 4, (10, 10, 30, 40))
    (folder / "train.json").write_text(json.dumps(content))
    return folder / "train.json"


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    """A COCO file beside its pictures."""
    folder = tmp_path / "data"
    folder.mkdir()
    return write_own(folder)


@pytest.fixture
def source(annotations: Path) -> Any:
    """The data as training reads them."""
    return read_own_data(annotations).source
