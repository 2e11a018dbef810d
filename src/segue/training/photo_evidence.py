"""What a photograph shows, read from the towers' patches: small things count as much as large ones.

The dense class of a patch is that of its centre, so a pair of glasses is rarely anybody's label, and next to
nothing in a mean over patches. Here every label has a yes or no of its own on every patch, with as much
weight on the patches that have it as on those that have not, and one for the whole photograph, read from the
few patches that speak loudest.

Source: paper silent; ours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segue.training.vocabulary import CLASS_INDEX, PHOTO_LABELS

LOUDEST = 1 / 40
"""Share of the patches that answer for the photograph: 6 of 16 x 16, at least 3."""


class LabelEvidence(nn.Module):
    """Labels of every patch of one tower, and of the photograph; used in training only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.labels = nn.Linear(width, len(PHOTO_LABELS))
        self.scale = nn.Parameter(torch.ones(len(PHOTO_LABELS)))
        self.bias = nn.Parameter(torch.full((len(PHOTO_LABELS),), -1.0))

    def loss(self, patches: Tensor, covered: Tensor, presence: Tensor) -> tuple[Tensor, float]:
        """Patches' and photographs' binary cross-entropies.

        Args:
            patches: `[N, L, D]` of photographs.
            covered: `[N, L, labels]` share of each patch, 0..1.
            presence: `[N, labels]` 1 / 0 / -1 (not known).

        Returns:
            Their sum, and the share of the known presences that are told rightly.
        """
        logits = self.labels(patches)
        count = max(3, round(logits.shape[1] * LOUDEST))
        loud = logits.topk(min(count, logits.shape[1]), dim=1).values.mean(1) * self.scale + self.bias
        known = presence >= 0
        if not bool(known.any()):
            return logits.sum() * 0.0, 0.0
        whole = F.binary_cross_entropy_with_logits(loud[known], presence[known].float())
        right = float(((loud > 0) == (presence == 1))[known].float().mean())
        return balanced_cross_entropy(logits, (2 * covered).clamp(max=1), known) + whole, right


def balanced_cross_entropy(logits: Tensor, wanted: Tensor, known: Tensor) -> Tensor:
    """Per label, the mean of the mean over what has it and the mean over what has not; then over labels.

    Args:
        logits: `[N, L, labels]`.
        wanted: the same, 0..1.
        known: `[N, labels]` the photographs that may teach a label.
    """
    losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    sides = []
    for weight in (wanted * known[:, None], (1 - wanted) * known[:, None]):
        total = weight.sum((0, 1))
        sides.append(((losses * weight).sum((0, 1)) / total.clamp(min=1e-6), total > 0.5))
    (has, some), (has_not, others) = sides
    both = some & others
    if not bool(both.any()):
        return logits.sum() * 0.0
    return (0.5 * (has + has_not))[both].mean()


def coverage(classes: Tensor, grid: int) -> Tensor:
    """Share of every patch that each label covers: `[N, S, S]` classes to `[N, grid * grid, labels]`."""
    numbers = torch.tensor([CLASS_INDEX[name] for name in PHOTO_LABELS])
    masks = (classes[:, None] == numbers[:, None, None]).float()
    return F.adaptive_avg_pool2d(masks, grid).flatten(2).transpose(1, 2)
