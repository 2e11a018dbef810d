"""The trunk looks at every training picture once; what it saw is kept in memory-mapped files.

A killed run goes on with the pictures that are missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from segue.files import make_folder, write_atomic
from segue.images import load_image
from segue.models.mini.heat import fold_kinds, fold_matrix
from segue.models.mini.names import name_table
from segue.models.mini.picture import SIDE, square_picture
from segue.models.mini.trunk import WIDTHS, Trunk, normalise_pixels

COLOUR_STRIDE = 4
"""The picture itself is kept this much smaller: masks follow its edges."""

_BATCH = 8
_SAVE_EVERY = 16  # batches


@dataclass(frozen=True)
class StoredFeatures:
    """What the trunk says of N pictures, in the order in which they were given.

    Attributes:
        strides: stride -> `[N, C, S / stride, S / stride]` float16.
        folded: `[N, F, S / 32, S / 32]` float16, probabilities of the folded names.
        colours: `[N, 3, S / 4, S / 4]` uint8, the picture in small.
        inside: `[N, 2]` height and width of the picture in its square of `SIDE` pixels.
    """

    strides: dict[int, NDArray[np.float16]]
    folded: NDArray[np.float16]
    colours: NDArray[np.uint8]
    inside: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.colours)


def store_features(trunk: Trunk, paths: Sequence[Path], folder: Path, *, bf16: bool = True) -> StoredFeatures:
    """Open the features of some pictures, computing those that are missing.

    Args:
        paths: image files; the folder's name in the store follows from them.
        folder: of all stores.
        bf16: compute in bfloat16, which is twice as fast where the processor knows it; it moves features by
            less than half a percent.
    """
    digest = hashlib.sha256("\n".join([str(SIDE), *map(str, paths)]).encode()).hexdigest()[:12]
    home = folder / f"{paths[0].parent.parent.name}_{paths[0].parent.name}_{len(paths)}_{digest}"
    make_folder(home)
    stored = _open(home, len(paths))
    progress = home / "progress.json"
    done = json.loads(progress.read_text())["done"] if progress.exists() else 0
    trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    starts = range(done, len(paths), _BATCH)
    for number, start in enumerate(tqdm(starts, desc=f"features of {home.name}", mininterval=10), start=1):
        stop = min(len(paths), start + _BATCH)
        _look(trunk, paths[start:stop], stored, slice(start, stop), bf16)
        if number % _SAVE_EVERY == 0 or stop == len(paths):
            for array in (*stored.strides.values(), stored.folded, stored.colours, stored.inside):
                array.flush()  # type: ignore[attr-defined]
            write_atomic(progress, json.dumps({"done": stop}))
    return stored


@torch.inference_mode()
def _look(trunk: Trunk, paths: Sequence[Path], stored: StoredFeatures, rows: slice, bf16: bool) -> None:
    squares, inside = zip(*(square_picture(load_image(path)) for path in paths), strict=True)
    pictures = torch.from_numpy(np.stack(squares))
    pixels = normalise_pixels(pictures).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        seen = trunk(pixels)
        kinds = trunk.kinds(seen.stride32)
    stored.folded[rows] = fold_kinds(kinds.float(), fold_matrix(name_table())).half().numpy()
    for stride, features in ((8, seen.stride8), (16, seen.stride16), (32, seen.stride32)):
        stored.strides[stride][rows] = features.half().numpy()
    small = F.avg_pool2d(pictures.permute(0, 3, 1, 2).float(), COLOUR_STRIDE)
    stored.colours[rows] = small.round().to(torch.uint8).numpy()
    stored.inside[rows] = np.asarray(inside, np.int32)


def _open(home: Path, count: int) -> StoredFeatures:
    """The files of a store, made when they are missing; pages that nobody wrote take no space."""

    def file(name: str, dtype: type, *shape: int) -> NDArray[np.generic]:
        path = home / f"{name}.npy"
        if path.exists():
            return np.lib.format.open_memmap(path, mode="r+")
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(count, *shape))

    strides = {
        stride: file(f"stride{stride}", np.float16, width, SIDE // stride, SIDE // stride)
        for stride, width in WIDTHS.items()
    }
    small, cells = SIDE // COLOUR_STRIDE, SIDE // 32
    return StoredFeatures(
        strides,  # type: ignore[arg-type]
        file("folded", np.float16, len(name_table().folded()), cells, cells),  # type: ignore[arg-type]
        file("colours", np.uint8, 3, small, small),  # type: ignore[arg-type]
        file("inside", np.int32, 2),  # type: ignore[arg-type]
    )


def features_of(stored: StoredFeatures, rows: Sequence[int], flips: Sequence[bool]) -> dict[str, Tensor]:
    """A batch of stored features in float32, some of them mirrored.

    A mirrored picture's features are very nearly the mirrored features; mirroring moves the picture to the
    right of its square, so everything that goes with it (masks, validity) is mirrored in the square too.
    """
    arrays: dict[str, NDArray[Any]] = {f"stride{stride}": array for stride, array in stored.strides.items()}
    arrays |= {"folded": stored.folded, "colours": stored.colours}
    batch: dict[str, Tensor] = {}
    for name, array in arrays.items():
        seen = [array[row][..., ::-1] if flip else array[row] for row, flip in zip(rows, flips, strict=True)]
        batch[name] = torch.from_numpy(np.stack(seen)).float()
    return batch
