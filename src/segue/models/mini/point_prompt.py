"""The embedding of a wanted instance: where its middle is and how large it is, as sines.

The mask decoder is trained with it as a sparse prompt, and the language model is trained to say it at a
`[SEG]`: each half can be made without the other. Nothing of what the thing is called stands in it.

Legend: K things, D width of the prompt.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEAST_AREA = 1e-3
"""Smaller things are embedded as if they covered this fraction of the picture."""

SLOWEST, FASTEST = 0.25, 3.0
"""Waves across the picture. A quarter of a wave tells both sides of the picture apart without return; three
waves turn by a quarter over a twelfth of the picture, which is as fine as findings are spelled."""


def point_prompt(centre_yx: Tensor, area: Tensor, width: int) -> Tensor:
    """Things to prompts.

    A quarter of the width for the area, three eighths each for y and x. Every value lies within -1 and 1, and
    each pair of sine and cosine contributes 1 to the squared length, so all prompts are equally long.

    Args:
        centre_yx: `[K, 2]`, 0 to 1 from the top and from the left.
        area: `[K]` fractions of the picture.
        width: D, a multiple of 16.

    Returns:
        `[K, D]` float32.

    Source: paper silent; ours, after the sines of SAM's point prompts.
    """
    log_area = (area.clamp(LEAST_AREA, 1.0) / LEAST_AREA).log() / math.log(1 / LEAST_AREA)
    shares = (width * 3 // 8, width * 3 // 8, width // 4)
    values = (centre_yx[:, 0], centre_yx[:, 1], log_area)
    return torch.cat([_waves(value, share) for value, share in zip(values, shares, strict=True)], dim=1)


def _waves(value: Tensor, width: int) -> Tensor:
    """`[K]` values from 0 to 1 to `[K, width]`, half of them sines."""
    steps = torch.linspace(0, 1, width // 2, device=value.device)
    angles = 2 * math.pi * SLOWEST * (FASTEST / SLOWEST) ** steps * value.float()[:, None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def nearest_thing(prompts: Tensor, candidates: Tensor) -> Tensor:
    """Which of some things each prompt means: `[K, D]` and `[C, D]` to `[K]` places of the closest ones."""
    return torch.cdist(prompts.float(), candidates.float()).argmin(1)
