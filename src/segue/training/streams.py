"""Batches of uint8 pictures to the normalised streams that the processor would make of them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segue.models.image_streams import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD

STATISTICS = {
    "pixel_values": (CLIP_MEAN, CLIP_STD),
    "pixel_values_aux": (IMAGENET_MEAN, IMAGENET_STD),
    "pixel_values_labels": (IMAGENET_MEAN, IMAGENET_STD),
    "pixel_values_sam": (IMAGENET_MEAN, IMAGENET_STD),
}


def normalise(pictures: NDArray[np.uint8], stream: str) -> Tensor:
    """`[N, S, S, 3]` uint8 to `[N, 3, S, S]` float32 with a stream's mean and deviation."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in STATISTICS[stream])
    pixels = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255
    return (pixels - mean) / std
