"""Masks compared at sampled points, most of them where the model is not sure.

Legend: K masks, P points, S the side of the square that masks are given on.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segue.models.losses import bce_loss

OVERSAMPLE, UNCERTAIN = 3, 0.75
"""Of three times as many random points those least certain are three quarters; the rest is random. Source:
Mask2Former (PointRend)."""


def at_points(maps: Tensor, points: Tensor) -> Tensor:
    """Maps `[K, h, w]` at points `[K, P, 2]` (x, y in 0..1), `[K, P]`; nothing outside of the map."""
    places = 2.0 * points[:, :, None] - 1.0
    return F.grid_sample(maps[:, None], places, align_corners=False)[:, 0, :, 0]


@torch.no_grad()
def uncertain_points(mask_logits: Tensor, number: int) -> Tensor:
    """Points `[K, P, 2]` at which to compare masks `[K, h, w]`, most of them where logits are near 0."""
    masks = len(mask_logits)
    drawn = torch.rand(masks, OVERSAMPLE * number, 2, device=mask_logits.device, dtype=mask_logits.dtype)
    uncertain = int(UNCERTAIN * number)
    order = at_points(mask_logits, drawn).abs().topk(uncertain, dim=1, largest=False).indices
    chosen = drawn.gather(1, order[..., None].expand(-1, -1, 2))
    anywhere = torch.rand(masks, number - uncertain, 2, device=drawn.device, dtype=drawn.dtype)
    return torch.cat([chosen, anywhere], dim=1)


def point_losses(mask_logits: Tensor, masks: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Dice and binary cross-entropy of each mask at points.

    Args:
        mask_logits: `[K, h, w]`.
        masks: `[K, S, S]` in 0..1.
        points: `[K, P, 2]`.

    Returns:
        `[K]` each. Dice is 1 - (2 |p m| + 1) / (|p| + |m| + 1), sums over the points.

    Source: OMG-LLaVA's and Sa2VA's code (mmdetection's Dice in its naive form, cross-entropy as a mean over
    points).
    """
    logits, targets = at_points(mask_logits, points).float(), at_points(masks, points).float()
    probs = logits.sigmoid()
    overlap, total = (probs * targets).sum(-1), probs.sum(-1) + targets.sum(-1)
    return 1 - (2 * overlap + 1) / (total + 1), bce_loss(logits, targets)
