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
from torch import Tensor, nn
from tqdm import tqdm

from segue.files import write_atomic
from segue.models.image_streams import normalise
from segue.models.mini.modeling_mini import MiniModel


@dataclass(frozen=True)
class FeatureCache:
    """What `encode_features` says of every image, by name: `[N, ...]` float16 each."""

    arrays: dict[str, NDArray[np.float16]]

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __call__(self, indices: list[int]) -> dict[str, Tensor]:
        """Features of some images as float32 tensors."""
        return {n: torch.from_numpy(np.asarray(a[indices])).float() for n, a in self.arrays.items()}


def drop_features(features: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Dropout by the batch's own generator: frozen features come without any other augmentation.

    Source: ours; the Q-Former learned the features of a few thousand scenes by heart without it.
    """
    if share == 0:
        return features
    kept = rng.random(features.shape, dtype=np.float32) >= share
    return features * torch.from_numpy(kept) / (1 - share)


def part_hash(*parts: nn.Module) -> str:
    """Changes when a weight or a statistic of what is cached changes, so that a stale cache is never read."""
    digest = hashlib.sha256()
    for part in parts:
        for name, value in part.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def blur_labels(features: Tensor, spread: float, rng: np.random.Generator) -> Tensor:
    """Label features `[N, K, 1 + A]` whose presences are less sure than they are on images that were learned.

    Args:
        spread: standard deviation of what is added to the logits of presence.

    Source: ours; a language model that meets only sure presences compares badly where they are not.
    """
    if spread == 0:
        return features
    noise = spread * rng.standard_normal(features.shape[:2], dtype=np.float32)
    return torch.cat([features[..., :1] + torch.from_numpy(noise)[..., None], features[..., 1:]], dim=-1)


def picture_hash(picture: Callable[[int], NDArray[np.uint8]], count: int, samples: int = 8) -> str:
    """Changes when other pictures (another pool, other crops of the same photographs) are asked for."""
    digest = hashlib.sha256()
    for index in np.linspace(0, max(0, count - 1), min(samples, count)).astype(int).tolist():
        digest.update(np.ascontiguousarray(picture(index)).tobytes())
    return digest.hexdigest()[:16]


def cache_features(
    model: MiniModel,
    folder: Path,
    name: str,
    count: int,
    picture: Callable[..., NDArray[np.uint8]],
    *,
    batch_size: int = 32,
) -> FeatureCache:
    """Open the features of `count` pictures, computing what is missing.

    Towers and label reader are cached apart: a new reader needs no new features of the towers.

    Args:
        model: its encoders are run in eval mode.
        folder: of the cache; the file names carry the hashes of the weights and of some of the pictures, so
            that stages with other weights or other crops do not read each other's features.
        name: of the image source.
        picture: index to RGB `[S, S, 3]` at the towers' size, at another one with `size`.
    """

    def towers(drawn: range) -> dict[str, Tensor]:
        pictures = np.stack([picture(i) for i in drawn])
        streams = [normalise(pictures, stream) for stream in ("pixel_values", "pixel_values_aux")]
        return dict(zip(("vision_features", "aux_features"), model.encode_towers(*streams), strict=True))

    parts = part_hash(model.vision_model, model.aux_vision_model)
    stem = f"{name}_{count}_{parts}_{picture_hash(picture, count)}"
    arrays = _cached(model, folder, stem, count, towers, batch_size)
    reader, size = model.label_reader, model.config.label_reader_size
    if reader is not None:

        def labels(drawn: range) -> dict[str, Tensor]:
            pictures = np.stack([picture(i, size=size) for i in drawn])
            return {"label_features": reader(normalise(pictures, "pixel_values_labels"))}

        sizes = "_".join(map(str, (size, *reader.smaller)))
        stem = f"{name}_{count}_{part_hash(reader)}_{picture_hash(picture, count)}_{sizes}"
        arrays |= _cached(model, folder, stem, count, labels, batch_size)
    return FeatureCache(arrays)


@torch.no_grad()
def _cached(
    model: MiniModel,
    folder: Path,
    stem: str,
    count: int,
    encode: Callable[[range], dict[str, Tensor]],
    batch_size: int,
) -> dict[str, NDArray[np.float16]]:
    """Memory-mapped outputs of `encode`, which is asked only for what no finished file holds."""
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / f"{stem}.json"
    if not done.exists():
        training = model.training
        model.eval()
        arrays: dict[str, NDArray[np.float16]] = {}
        for start in tqdm(range(0, count, batch_size), desc=f"features of {stem.split('_')[0]}"):
            drawn = range(start, min(count, start + batch_size))
            for part, output in encode(drawn).items():
                if part not in arrays:
                    arrays[part] = np.lib.format.open_memmap(
                        folder / f"{stem}_{part}.npy",
                        mode="w+",
                        dtype=np.float16,
                        shape=(count, *output.shape[1:]),
                    )
                arrays[part][start : drawn.stop] = output.half().numpy()
        model.train(training)
        write_atomic(done, json.dumps({"count": count, "parts": list(arrays)}))
    parts = json.loads(done.read_text())["parts"]
    return {part: np.load(folder / f"{stem}_{part}.npy", mmap_mode="r") for part in parts}
