"""Pools of training images: scenes rendered once into memory-mapped files, photographs read once."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segue.errors import InputError
from segue.files import write_atomic
from segue.images import load_image
from segue.mini.photos.facts import PhotoRecord, load_photo_facts
from segue.mini.photos.labels import LABELS
from segue.scenes.kinds import KINDS, SceneObject
from segue.scenes.render import render_scene
from segue.training.augmentation import flip, resize_pair

CHUNK = 128
PHOTO_LABELS: tuple[str, ...] = tuple(LABELS)


@dataclass(frozen=True)
class ScenePool:
    """Rendered scenes in memory-mapped arrays.

    Attributes:
        images: `[N, S, S, 3]` uint8.
        object_maps, part_maps: `[N, S, S]` uint8, as in `Scene`.
        objects: what is in each scene.
        by_kind: kind (and colour + kind) to the scenes that show it.
    """

    images: NDArray[np.uint8]
    object_maps: NDArray[np.uint8]
    part_maps: NDArray[np.uint8]
    objects: list[tuple[SceneObject, ...]]
    by_kind: dict[str, NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.objects)

    def subset(self, count: int) -> ScenePool:
        """The first `count` scenes."""
        objects = self.objects[:count]
        return ScenePool(
            self.images[:count],
            self.object_maps[:count],
            self.part_maps[:count],
            objects,
            index_by_kind(objects),
        )

    def mask(self, scene: int, object_index: int, part: str | None) -> NDArray[np.bool_]:
        """Visible pixels of an object or of a part of it, `[S, S]`."""
        chosen = self.object_maps[scene] == object_index + 1
        if part is None:
            return chosen
        parts = KINDS[self.objects[scene][object_index].kind].parts
        return chosen & (self.part_maps[scene] == parts.index(part) + 1)

    def draw(self, rng: np.random.Generator, size: int) -> tuple[int, list[NDArray[np.uint8]], bool]:
        """A random scene: place, (image, object map, part map) at `size`, and whether they are mirrored."""
        i = int(rng.integers(len(self)))
        arrays = [np.asarray(a[i]) for a in (self.images, self.object_maps, self.part_maps)]
        mirrored = bool(rng.random() < 0.5)
        image, objects, parts = flip(*arrays) if mirrored else arrays
        if image.shape[0] != size:
            (image, objects), (_, parts) = (resize_pair(image, m, (size, size)) for m in (objects, parts))
        return i, [image, objects, parts], mirrored

    def sample_set(self, rng: np.random.Generator, num_images: int) -> list[int]:
        """Scenes to be asked about together; half of the sets share a kind, some of them its colour too."""
        first = int(rng.integers(len(self)))
        chosen = [first]
        shared = self.objects[first][int(rng.integers(len(self.objects[first])))]
        key = None
        if rng.random() < 0.5:
            key = shared.phrase if rng.random() < 0.4 else shared.kind
        for _ in range(num_images - 1):
            options = self.by_kind[key] if key is not None else None
            candidate = int(rng.choice(options)) if options is not None else int(rng.integers(len(self)))
            chosen.append(candidate if candidate not in chosen else int(rng.integers(len(self))))
        return [chosen[i] for i in rng.permutation(len(chosen))]


def _open(folder: Path, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An existing array of this shape, or a new one."""
    path = folder / f"{name}.npy"
    if path.exists():
        array: NDArray[np.uint8] = np.load(path, mmap_mode="r+")
        if array.shape == shape:
            return array
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)


def render_chunk(folder: str, seed: int, count: int, size: int, split: str, chunk: int) -> int:
    """Render the scenes of one chunk into the arrays of a pool; the facts file marks it as done."""
    path = Path(folder)
    images = _open(path, "images", (count, size, size, 3))
    object_maps, part_maps = (_open(path, name, (count, size, size)) for name in ("objects", "parts"))
    facts = []
    for i in range(chunk * CHUNK, min(count, (chunk + 1) * CHUNK)):
        scene = render_scene(np.random.default_rng([seed, i]), size=size, split=split)
        images[i], object_maps[i], part_maps[i] = scene.image, scene.object_map, scene.part_map
        facts.append([asdict(o) | {"part_areas": dict(o.part_areas)} for o in scene.objects])
    for array in (images, object_maps, part_maps):
        array.flush()  # type: ignore[attr-defined]
    write_atomic(path / f"facts_{chunk:05d}.json", json.dumps(facts))
    return chunk


def scene_pool(
    folder: Path,
    *,
    seed: int,
    count: int,
    size: int = 240,
    split: str = "train",
    workers: int = 1,
    progress: bool = True,
) -> ScenePool:
    """Open a pool, rendering what is missing; a killed rendering goes on where it stopped.

    Args:
        folder: where the arrays lie; its name should tell seed, count and size.
        seed: scene i is rendered from `default_rng([seed, i])`.
        count: number of scenes.
        size: side in pixels.
        workers: processes.

    Raises:
        InputError: the folder holds a pool of other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {"images": (count, size, size, 3), "objects": (count, size, size), "parts": (count, size, size)}
    _check_settings(folder, {"seed": seed, "count": count, "size": size, "split": split}, shapes)
    for name, shape in shapes.items():
        _open(folder, name, shape)
    chunks = range((count + CHUNK - 1) // CHUNK)
    missing = [c for c in chunks if not (folder / f"facts_{c:05d}.json").exists()]
    if missing:
        _render_missing(folder, missing, (seed, count, size, split), workers, progress)
    objects: list[tuple[SceneObject, ...]] = []
    for c in chunks:
        for scene in json.loads((folder / f"facts_{c:05d}.json").read_text()):
            objects.append(tuple(_object(fields) for fields in scene))
    images, object_maps, part_maps = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in shapes)
    return ScenePool(images, object_maps, part_maps, objects, index_by_kind(objects))


def _check_settings(folder: Path, settings: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> None:
    """Refuse a folder whose scenes were rendered with other settings; remember these in a new one."""
    path, found = folder / "pool.json", settings
    if path.exists():
        found = json.loads(path.read_text())
    elif any(folder.glob("facts_*.json")):  # rendered before pools remembered their settings
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r").shape
            if (folder / f"{name}.npy").exists()
            else None
            for name in shapes
        }
        found = settings if arrays == shapes else {"arrays": arrays}
    if found != settings:
        raise InputError(
            "the folder holds other scenes",
            expected=json.dumps(settings),
            found=json.dumps(found),
            where=str(folder),
            fix="give data.scenes.folder another name, or remove the folder",
        )
    if not path.exists():
        write_atomic(path, json.dumps(settings))


def index_by_kind(objects: list[tuple[SceneObject, ...]]) -> dict[str, NDArray[np.int64]]:
    """Kind, and colour with kind, to the scenes that show it."""
    index: dict[str, list[int]] = defaultdict(list)
    for i, scene in enumerate(objects):
        for key in {k for o in scene for k in (o.kind, o.phrase)}:
            index[key].append(i)
    return {key: np.asarray(scenes) for key, scenes in index.items()}


def _render_missing(
    folder: Path, missing: list[int], settings: tuple[int, int, int, str], workers: int, progress: bool
) -> None:
    from concurrent.futures import ProcessPoolExecutor, as_completed

    from tqdm import tqdm

    with ProcessPoolExecutor(workers) as executor:
        seed, count, size, split = settings
        jobs = [executor.submit(render_chunk, str(folder), seed, count, size, split, c) for c in missing]
        for job in tqdm(as_completed(jobs), total=len(jobs), desc="rendering scenes", disable=not progress):
            job.result()


def _object(fields: dict[str, Any]) -> SceneObject:
    return SceneObject(
        **(
            fields
            | {
                "parts": tuple(fields["parts"]),
                "center": tuple(fields["center"]),
                "box": tuple(fields["box"]),
            }
        )
    )


@dataclass(frozen=True)
class PhotoPool:
    """Photographs and their label maps at a working size.

    Attributes:
        records: facts and masks in the photographs' own sizes.
        images: RGB arrays `[h, w, 3]`, longest side at most `size`.
        label_maps: `[h, w]` uint8; 0 none, k is `PHOTO_LABELS[k - 1]`; `person` is where any label or person
            is.
    """

    records: list[PhotoRecord]
    images: list[NDArray[np.uint8]]
    label_maps: list[NDArray[np.uint8]]

    def __len__(self) -> int:
        return len(self.records)

    def mask(self, label_map: NDArray[np.uint8], label: str) -> NDArray[np.bool_]:
        """Pixels of a label in a map that may have been cropped; `person` is all of the person's labels."""
        if label == "person":
            return label_map > 0
        return label_map == PHOTO_LABELS.index(label) + 1


def photo_pool(
    coco_json: Path,
    images_dir: Path,
    *,
    size: int = 320,
    skip: Sequence[int] = (),
    keep: Sequence[int] | None = None,
    cache: Path | None = None,
) -> PhotoPool:
    """Read photographs once.

    Args:
        coco_json: PACO-style annotations.
        images_dir: folder of the photographs.
        size: longest side of the working copies.
        skip: positions to leave out (held back for tests); `keep`: the only positions to take.
    """
    records = list(load_photo_facts(coco_json, images_dir, cache=cache))
    chosen = [r for i, r in enumerate(records) if i not in set(skip) and (keep is None or i in set(keep))]
    images, maps = [], []
    for record in chosen:
        image = load_image(record.path)
        scale = min(1.0, size / max(record.hw))
        wh = (max(1, round(record.hw[1] * scale)), max(1, round(record.hw[0] * scale)))
        label_map = np.zeros(record.hw, np.uint8)
        for label in ("person", *(name for name in PHOTO_LABELS if name != "person")):
            if label in record.rles:
                label_map[record.mask(label)] = PHOTO_LABELS.index(label) + 1
        images.append(np.asarray(image.resize(wh, Image.Resampling.BILINEAR)))
        maps.append(np.asarray(Image.fromarray(label_map).resize(wh, Image.Resampling.NEAREST)))
    return PhotoPool(chosen, images, maps)
