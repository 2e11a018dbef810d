"""Small pools of scenes and of drawn photographs, and what the stages need to train on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from segue import masks
from segue.models.build import build_from_tokenizer
from segue.training.augmentation import resize_pair
from segue.training.dialogues import dialogue_texts
from segue.training.pools import PhotoPool, ScenePool, photo_pool, scene_pool
from segue.training.tokenizer import train_tokenizer
from segue.training.vocabulary import SLOT_CLASSES

SCENES = {"seed": 3, "count": 10, "size": 64, "split": "train"}
BANDS = {
    "hair": (4, 18),
    "blouse": (22, 48),
    "coat": (20, 50),
    "jeans": (50, 78),
    "dress": (22, 76),
    "shoes": (80, 90),
}
INKS = {
    "hair": (40, 25, 10),
    "blouse": (240, 240, 240),
    "coat": (20, 120, 40),
    "jeans": (40, 60, 190),
    "dress": (200, 20, 30),
    "shoes": (10, 10, 10),
}
"""Raw label to the rows that it covers and its colour, different for every label."""
PERSONS = (
    ("hair", "blouse", "jeans", "shoes"),
    ("hair", "dress"),
    ("hair", "coat", "jeans"),
    ("dress", "shoes"),
)
LABEL_INKS = {
    "hair": INKS["hair"],
    "top": INKS["blouse"],
    "coat": INKS["coat"],
    "trousers": INKS["jeans"],
    "dress": INKS["dress"],
    "shoes": INKS["shoes"],
}
"""The same by merged label."""


def draw_photos(folder: Path) -> Path:
    """Persons as stacks of coloured bands, with PACO-style annotations; wide and tall pictures."""
    raw = sorted(BANDS)
    images, annotations = [], []
    for number, parts in enumerate(PERSONS, start=1):
        height, width = (96, 60) if number % 2 else (96, 130)
        pixels, person = np.full((height, width, 3), 150, np.uint8), np.zeros((height, width), bool)
        stack = []
        for part in parts:
            mask = np.zeros((height, width), bool)
            mask[slice(*BANDS[part]), width // 4 : width // 2] = True
            pixels[mask] = INKS[part]
            person |= mask
            stack.append((raw.index(part) + 2, mask))
        Image.fromarray(pixels).save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": height, "width": width})
        owner = len(annotations) + 1
        annotations += [
            {
                "id": owner + k,
                "image_id": number,
                "category_id": category,
                "obj_ann_id": owner,
                "segmentation": masks.encode(mask),
            }
            for k, (category, mask) in enumerate([(1, person), *stack])
        ]
    categories = [
        {"id": 1, "name": "person"},
        *({"id": k + 2, "name": f"person:{n}"} for k, n in enumerate(raw)),
    ]
    path = folder / "photos.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Folders with a rendered pool, drawn photographs and a tokenizer; and the pools."""
    folder = tmp_path_factory.mktemp("training")
    (folder / "photos").mkdir()
    coco = draw_photos(folder / "photos")
    scenes = scene_pool(folder / "scenes", **SCENES, progress=False)
    photos = photo_pool(coco, coco.parent)
    tokenizer = train_tokenizer(dialogue_texts(scenes, photos, 80), 700)
    tokenizer.save_pretrained(folder / "tokenizer")
    return SimpleNamespace(folder=folder, coco=coco, scenes=scenes, photos=photos, tokenizer=tokenizer)


@pytest.fixture(scope="session")
def scenes(ground: SimpleNamespace) -> ScenePool:
    found: ScenePool = ground.scenes
    return found


@pytest.fixture(scope="session")
def photos(ground: SimpleNamespace) -> PhotoPool:
    found: PhotoPool = ground.photos
    return found


@pytest.fixture
def tiny(ground: SimpleNamespace) -> Callable[..., tuple[Any, Any]]:
    """A new model of the `tiny` preset with the stages' slots, and its processor."""
    return lambda **overrides: build_from_tokenizer(
        "tiny", ground.tokenizer, slot_classes=SLOT_CLASSES, **overrides
    )


@pytest.fixture
def recipe_of(ground: SimpleNamespace, tmp_path: Path) -> Callable[..., Path]:
    """Writes a recipe of a stage over the small pools; keywords replace top-level fields."""

    def write(stage: str, **fields: Any) -> Path:
        recipe = {
            "stage": stage,
            "model": {"preset": "tiny", "tokenizer": {"folder": str(ground.folder / "tokenizer")}},
            "data": {
                "scenes": SCENES | {"folder": str(ground.folder / "scenes")},
                "photos": {"coco": str(ground.coco), "images": str(ground.coco.parent)},
                "photo_share": 0.4,
            },
            "options": {"batch_size": 2},
            "optimiser": {"max_steps": 6, "warmup_steps": 2, "learning_rate": 0.01},
            "log_every": 2,
            "save_every": 3,
        } | fields
        path = tmp_path / f"{stage}.yaml"
        path.write_text(yaml.safe_dump(recipe))
        return path

    return write


def alike(first: Any, second: Any) -> bool:
    """Equal to the last bit, through nested mappings and lists."""
    if isinstance(first, torch.Tensor):
        return (
            first.dtype == second.dtype
            and first.shape == second.shape
            and torch.equal(first.nan_to_num(-7.0), second.nan_to_num(-7.0))
        )
    if isinstance(first, dict):
        return set(first) == set(second) and all(alike(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(alike(a, b) for a, b in zip(first, second, strict=True))
    return bool(first == second)


@pytest.fixture(scope="session")
def same() -> Callable[[Any, Any], bool]:
    return alike


@pytest.fixture(scope="session")
def label_inks() -> dict[str, tuple[int, int, int]]:
    return LABEL_INKS


@pytest.fixture(scope="session")
def one_step() -> Callable[[Any, Any], tuple[float, float]]:
    """`(model, objective)` to the loss of one batch before and after a small step on it."""

    def run(model: Any, objective: Any) -> tuple[float, float]:
        from segue.training.trainer import set_trainable

        names = set_trainable(model, objective.trainable)
        assert names
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.Adam(parameters, lr=1e-3)
        losses = []
        for _ in range(2):
            loss, readings = objective.loss(model, dict(objective.batch(0)))
            losses.append(float(loss.detach()))
            assert all(np.isfinite(list(readings.values())))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return losses[0], losses[1]

    return run


@pytest.fixture(scope="session")
def mirrored(scenes: ScenePool) -> Callable[[np.ndarray, int], tuple[bool, np.ndarray]]:
    """`(picture, scene)`: whether the picture is the scene mirrored, and the object map that goes with it."""

    def find(picture: np.ndarray, index: int) -> tuple[bool, np.ndarray]:
        hw = (picture.shape[0], picture.shape[1])
        matches = []
        for way in (1, -1):
            image, labels = (
                np.ascontiguousarray(np.asarray(a[index])[:, ::way])
                for a in (scenes.images, scenes.object_maps)
            )
            image, labels = resize_pair(image, labels, hw)
            if np.array_equal(image, picture):
                matches.append((way == -1, labels))
        assert len(matches) == 1, "the picture is not this scene"
        return matches[0]

    return find
