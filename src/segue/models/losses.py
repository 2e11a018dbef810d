"""Loss terms with their reductions stated: text cross-entropy, mask BCE or focal, Dice."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE_INDEX = -100
"""Label of positions that carry no loss."""


def text_loss(
    logits: Tensor, labels: Tensor, token_weights: Tensor | None = None, total: float | None = None
) -> Tensor:
    """Next-token cross-entropy: the weighted mean over all labelled tokens of the batch.

    Args:
        logits: `[B, L, V]`; position i predicts token i + 1.
        labels: `[B, L]` token ids, `IGNORE_INDEX` where there is no loss.
        token_weights: `[V]` weight of each target id; all 1 when None.
        total: What the sum divides by in place of this batch's own `target_weight`: that of all the
            micro-batches of a step, so that their losses add up to the loss of the whole.

    Returns:
        Scalar; 0 (with a gradient path) when nothing is labelled.

    Source: PRIMA section 3.2 (L_text); the token weights are ours.
    """
    targets = labels[:, 1:]
    chosen = targets != IGNORE_INDEX
    if not bool(chosen.any()):
        # Not a plain 0: in DDP a process whose loss reaches no parameter lets the others wait forever.
        return logits.sum() * 0.0
    picked = targets[chosen]
    # Chosen before the cast: most positions carry no label, and a float32 copy of all logits `[B, L, V]`
    # would be the largest tensor of the step.
    losses = F.cross_entropy(logits[:, :-1][chosen].float(), picked, reduction="none")
    if token_weights is None:
        return losses.mean() if total is None else losses.sum() / total
    weights = token_weights.to(losses.device)[picked]
    return (losses * weights).sum() / (weights.sum() if total is None else total)


def target_weight(labels: Tensor, token_weights: Tensor | None = None) -> float:
    """Divisor of `text_loss`: the number of labelled tokens, or the sum of their weights.

    Args:
        labels: `[B, L]`, `IGNORE_INDEX` where there is no target.
        token_weights: `[V]` weights of target ids.
    """
    # The first token is predicted by nothing.
    targets = labels[:, 1:]
    picked = targets[targets != IGNORE_INDEX]
    return float(len(picked) if token_weights is None else token_weights.to(picked.device)[picked].sum())


def dice_loss(mask_logits: Tensor, masks: Tensor, *, scale: float = 1000.0, eps: float = 1e-6) -> Tensor:
    """One Dice loss per mask: 1 - 2|P.G| / (|P| + |G|), the sums divided by `scale` before `eps` is added.

    Args:
        mask_logits: `[K, ...]` logits.
        masks: `[K, ...]` 0/1 targets of the same shape.

    Returns:
        `[K]` losses.

    Source: GLaMM's and LISA's code (scale 1000 means an effective eps of 1e-3 pixels).
    """
    # In float32: a mask of a megapixel sums to more than bfloat16, with 8 bits, can count.
    probs = mask_logits.float().sigmoid().flatten(1)
    targets = masks.float().flatten(1)
    overlap = 2 * (probs * targets).sum(-1) / scale
    # Sums of probabilities, not of their squares (V-Net's Dice): the form of GLaMM's and LISA's code.
    total = (probs.sum(-1) + targets.sum(-1)) / scale
    return 1 - (overlap + eps) / (total + eps)


def bce_loss(mask_logits: Tensor, masks: Tensor) -> Tensor:
    """One binary cross-entropy per mask, the mean over its pixels; `[K, ...]` in, `[K]` out.

    Source: GLaMM's and LISA's code.
    """
    losses = F.binary_cross_entropy_with_logits(mask_logits.float(), masks.float(), reduction="none")
    return losses.flatten(1).mean(1)


def focal_loss(mask_logits: Tensor, masks: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """One focal loss per mask, the mean over its pixels; `[K, ...]` in, `[K]` out.

    `alpha < 0` leaves foreground and background unweighted; `gamma = 0, alpha < 0` is plain BCE.

    Source: PRIMA section 3.2 (L_focal), after Lin et al. 2017.
    """
    logits, targets = mask_logits.float(), masks.float()
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    probs = logits.sigmoid()
    # p_t of Lin et al.: the probability that the pixel's true class is given. 0.9 costs (0.1)^2 of its BCE.
    right = probs * targets + (1 - probs) * (1 - targets)
    losses = losses * (1 - right) ** gamma
    if alpha >= 0:
        losses = losses * (alpha * targets + (1 - alpha) * (1 - targets))
    return losses.flatten(1).mean(1)


def resize_logits(
    mask_logits: Tensor,
    resized_hw: tuple[int, int],
    original_hw: tuple[int, int],
    input_size: int,
    *,
    centred: bool = False,
) -> Tensor:
    """Bring a segmenter's low-resolution logits to the photograph's size: enlarge, cut the padding, enlarge.

    Args:
        mask_logits: `[K, h, w]` on the decoder's grid, padding included.
        resized_hw: height and width of the photograph inside the segmenter's square, in its pixels.
        original_hw: height and width of the photograph.
        input_size: side of the square, in pixels.
        centred: the photograph lies in the middle of the square (OMG-LLaVA), not at its top left (SAM).

    Returns:
        `[K, H, W]` float32 logits.

    Source: SAM's post-processing (bilinear, `align_corners=False`).
    """
    # Over the whole square first, then cut: the photograph's border is a whole pixel there, and falls between
    # two cells of the decoder (683 of 1024 rows end at row 170.75 of 256). Logits are enlarged, not masks:
    # the threshold comes last, and borders stay smooth.
    full = F.interpolate(
        mask_logits.float()[:, None], (input_size, input_size), mode="bilinear", align_corners=False
    )
    top, left = ((input_size - side) // 2 if centred else 0 for side in resized_hw)
    cut = full[..., top : top + resized_hw[0], left : left + resized_hw[1]]
    return F.interpolate(cut, tuple(original_hw), mode="bilinear", align_corners=False)[:, 0]


def shrink_masks(
    masks: Tensor,
    resized_hw: tuple[int, int],
    grid: int,
    input_size: int,
    *,
    centred: bool = False,
    mode: str = "area",
) -> Tensor:
    """Bring `[K, H, W]` masks to the decoder's `[K, grid, grid]`, zero in the padding.

    The inverse of `resize_logits` where masks are compared on the decoder's grid. By area, values are
    coverage in 0..1; `nearest` keeps them 0 or 1.

    Source: by area ours, paper silent; `nearest` Sa2VA's code.
    """
    if masks.shape[0] == 0:
        return masks.new_zeros((0, grid, grid), dtype=torch.float32)
    height = max(1, round(resized_hw[0] * grid / input_size))
    width = max(1, round(resized_hw[1] * grid / input_size))
    # `area` averages a whole cell; `nearest` loses what is thinner than one (4 pixels of 1024).
    small = F.interpolate(masks.float()[:, None], (height, width), mode=mode)[:, 0]
    top, left = ((grid - side) // 2 if centred else 0 for side in (height, width))
    # F.pad counts from the last dimension: left, right, top, bottom.
    return F.pad(small, (left, grid - width - left, top, grid - height - top))
