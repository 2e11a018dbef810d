"""Small pools of scenes and of drawn photographs, and what the stages need to train on them."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import segue.mini.stages  # noqa: F401  lets recipes name the embedded model's stages
from segue import masks
from segue.mini.dialogues import dialogue_texts
from segue.mini.pools import PhotoPool, ScenePool, photo_pool, scene_pool
from segue.mini.tokenizer import train_tokenizer
from segue.mini.vocabulary import PHOTO_LABELS, SLOT_CLASSES
from segue.models.mini.build import build_from_tokenizer
from segue.records import Conversation, read_jsonl
from segue.scenes.build import build
from segue.training.augmentation import resize_pair

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
def tiny_lisa(ground: SimpleNamespace) -> Callable[[], tuple[Any, Any]]:
    """A new LISA of random weights, small enough for tests, and its processor."""
    from segue.models.configuration_lisa import LisaConfig
    from segue.models.image_streams import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD
    from segue.models.mini.presets_mini import tiny_config
    from segue.models.modeling_lisa import LisaModel
    from segue.models.processing_grounded import SHORT_TEMPLATE, LisaProcessor

    def make() -> tuple[Any, Any]:
        tokenizer = ground.tokenizer
        like = tiny_config()
        text = like.text_config.to_dict() | {"vocab_size": len(tokenizer)}
        vision = {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
        }
        config = LisaConfig(
            text_config=text,
            sam_config=like.sam_config.to_dict(),
            vision_config=vision | {"image_size": 28, "patch_size": 14},
            image_token_id=3,
            seg_token_id=4,
        )
        torch.manual_seed(0)
        streams = {
            "pixel_values": {"size": 28, "fit": "stretch", "mean": CLIP_MEAN, "std": CLIP_STD},
            "pixel_values_sam": {"size": 48, "fit": "pad", "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
        }
        processor = LisaProcessor(tokenizer, streams, config.tokens_per_image, dict(SHORT_TEMPLATE))
        return LisaModel(config).eval(), processor

    return make


@pytest.fixture
def reading(tiny: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, Any]]:
    """The same with a label reader and a query for every label."""
    labels = {"label_reader_names": PHOTO_LABELS, "num_query_tokens": len(PHOTO_LABELS) + 1}
    return lambda **overrides: tiny(**(labels | {"label_reader_size": 64} | overrides))


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
        from segue.training.engine.trainer import set_trainable

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


class RecordsOfAFile:
    """A source over a gconv/1 file: each draw is one of its records."""

    def __init__(self, path: Path) -> None:
        self.root, self.records = path.parent, list(read_jsonl(path))

    def __len__(self) -> int:
        return len(self.records)

    def draw(self, rng: np.random.Generator) -> Conversation:
        return self.records[int(rng.integers(len(self)))]

    def fixed(self, count: int, seed: int) -> list[Conversation]:
        order = np.random.default_rng(seed).permutation(len(self))[:count]
        return [self.records[int(i)] for i in order]


@pytest.fixture(scope="session")
def scene_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of twelve conversations about scenes; do not change it or its images."""
    return build(tmp_path_factory.mktemp("scene_records"), seed=4, count=12, size=64, progress=False)


@pytest.fixture(scope="session")
def records_of() -> type[RecordsOfAFile]:
    """Opens a file of records as a source."""
    return RecordsOfAFile


@pytest.fixture(scope="session")
def records(scene_records: Path) -> RecordsOfAFile:
    return RecordsOfAFile(scene_records)


@pytest.fixture
def records_objective(tiny: Callable[..., Any], records: RecordsOfAFile) -> Callable[..., Any]:
    """`(model, objective)` over the scene records; keywords go to the objective, `features` is a folder."""

    def make(source: Any = None, features: Path | None = None, seed: int = 3, **options: Any) -> Any:
        from segue.training.adapters import prepare_for_training
        from segue.training.finetune.feature_store import FeatureStore
        from segue.training.finetune.mixture import Mixture
        from segue.training.finetune.objective import RecordsObjective

        model, processor = tiny()
        trains = prepare_for_training(model, "prima_mini-frozen" if features else "prima_mini")
        objective = RecordsObjective(
            processor,
            Mixture([source or records], seed=seed),
            **{
                "max_tokens": model.config.text_config.max_position_embeddings,
                "trainable": tuple(trains),
                "batch_size": 3,
                "features": FeatureStore(model, processor, features) if features else None,
            }
            | options,
        )
        return model, objective

    return make


def child(job: Callable[..., Any], arguments: tuple[Any, ...], environment: dict[str, str], log: str) -> None:
    """What a started process does: one thread, its output in a file, no clean-up at the end."""
    with open(log, "w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        os.environ.update(environment)
        torch.set_num_threads(1)
        code = 1
        try:
            job(*arguments)
            code = 0
        except BaseException:
            traceback.print_exc(file=output)
        finally:
            output.flush()
            os._exit(code)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """`(job, *arguments, environment={})`: a real process of its own that can be killed, already loaded."""
    context, begun = multiprocessing.get_context("fork"), []

    def begin(job: Callable[..., Any], *arguments: Any, environment: dict[str, str] | None = None) -> Any:
        log = tmp_path / f"process-{len(begun)}.log"
        process = context.Process(target=child, args=(job, arguments, environment or {}, str(log)))
        process.start()
        begun.append(process)
        process.log = log  # type: ignore[attr-defined]
        return process

    yield begin
    for process in begun:
        if process.is_alive():
            process.kill()
        process.join()


@pytest.fixture
def started(start: Callable[..., Any]) -> Callable[..., None]:
    """`(job, *arguments, count=1)`: runs the job in processes that know each other, to its end."""

    def run(job: Callable[..., Any], *arguments: Any, count: int = 1) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        group = [
            start(
                job,
                *arguments,
                environment={
                    "RANK": str(rank),
                    "LOCAL_RANK": str(rank),
                    "WORLD_SIZE": str(count),
                    "LOCAL_WORLD_SIZE": str(count),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": str(port),
                }
                if count > 1
                else {},
            )
            for rank in range(count)
        ]
        deadline = time.monotonic() + 240
        while any(p.is_alive() for p in group) and time.monotonic() < deadline:
            if any(p.exitcode not in (None, 0) for p in group):
                break
            time.sleep(0.05)
        codes = [p.exitcode for p in group]
        assert codes == [0] * count, "\n".join(p.log.read_text()[-3000:] for p in group)

    return run


@pytest.fixture(scope="session")
def curve() -> Callable[[Path], list[dict[str, float]]]:
    """The lines of a run's `losses.jsonl` without their times."""

    def read(out: Path) -> list[dict[str, float]]:
        lines = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
        return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]

    return read
