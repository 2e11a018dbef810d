"""Masks of a photograph on the square in whose middle it lies."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def square_masks(masks: Tensor, size: int) -> Tensor:
    """Masks `[K, H, W]` of a photograph to `[K, S, S]` of the square in whose middle it lies.

    Source: OMG-LLaVA's code (padded first, then resized to the nearest pixel).
    """
    height, width = masks.shape[-2:]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    padded = F.pad(masks.float(), (left, side - width - left, top, side - height - top))
    return F.interpolate(padded[:, None], (size, size), mode="nearest")[:, 0]
