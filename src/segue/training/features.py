"""Frozen towers look at every training image once; their features are kept in memory-mapped files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from segue.models.modeling_prima import PrimaModel
from segue.training.streams import normalise


@dataclass(frozen=True)
class FeatureCache:
    """Tower outputs by image: `[N, Lc, Dc]` and `[N, Ld, Dd]`, float16."""

    vision: NDArray[np.float16]
    aux: NDArray[np.float16]

    def __call__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """Features of some images as float32 tensors."""
        return (
            torch.from_numpy(np.asarray(self.vision[indices])).float(),
            torch.from_numpy(np.asarray(self.aux[indices])).float(),
        )


def drop_features(features: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Dropout by the batch's own generator: frozen features come without any other augmentation.

    Source: ours; the Q-Former learned the features of a few thousand scenes by heart without it.
    """
    if share == 0:
        return features
    kept = rng.random(features.shape, dtype=np.float32) >= share
    return features * torch.from_numpy(kept) / (1 - share)


def tower_hash(model: PrimaModel) -> str:
    """Changes when a weight of the towers changes, so that a stale cache is never read."""
    digest = hashlib.sha256()
    for tower in (model.vision_model, model.aux_vision_model):
        for name, parameter in tower.named_parameters():
            digest.update(name.encode())
            digest.update(parameter.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def picture_hash(picture: Callable[[int], NDArray[np.uint8]], count: int, samples: int = 8) -> str:
    """Changes when other pictures (another pool, other crops of the same photographs) are asked for."""
    digest = hashlib.sha256()
    for index in np.linspace(0, max(0, count - 1), min(samples, count)).astype(int).tolist():
        digest.update(np.ascontiguousarray(picture(index)).tobytes())
    return digest.hexdigest()[:16]


@torch.no_grad()
def cache_features(
    model: PrimaModel,
    folder: Path,
    name: str,
    count: int,
    picture: Callable[[int], NDArray[np.uint8]],
    *,
    batch_size: int = 32,
) -> FeatureCache:
    """Open the features of `count` pictures, computing what is missing.

    Args:
        model: its towers are run in eval mode.
        folder: of the cache; the file names carry the hashes of the towers and of some of the pictures, so
            that stages with other weights or other crops do not read each other's features.
        name: of the image source.
        picture: index to RGB `[S, S, 3]` at the towers' size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name}_{count}_{tower_hash(model)}_{picture_hash(picture, count)}"
    done = folder / f"{stem}.json"
    files = [folder / f"{stem}_{part}.npy" for part in ("vision", "aux")]
    if not done.exists():
        training = model.training
        model.eval()
        arrays: list[NDArray[np.float16]] = []
        for start in tqdm(range(0, count, batch_size), desc=f"features of {name}"):
            pictures = np.stack([picture(i) for i in range(start, min(count, start + batch_size))])
            outputs = model.encode_towers(
                normalise(pictures, "pixel_values"), normalise(pictures, "pixel_values_aux")
            )
            if not arrays:
                arrays = [
                    np.lib.format.open_memmap(f, mode="w+", dtype=np.float16, shape=(count, *o.shape[1:]))
                    for f, o in zip(files, outputs, strict=True)
                ]
            for array, output in zip(arrays, outputs, strict=True):
                array[start : start + len(pictures)] = output.half().numpy()
        model.train(training)
        done.write_text(json.dumps({"count": count}))
    return FeatureCache(*(np.load(f, mmap_mode="r") for f in files))
