"""Which names of the user's data each patch of SAM's encoder shows: what gets a small encoder going.

A phrase that is new to the decoder asks for nothing in particular, so that its mask teaches the encoder
little at first. The names of the patches teach it at once what to tell apart.

Source: paper silent; ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from segue import masks
from segue.masks import RLE
from segue.models.losses import shrink_masks
from segue.records import Conversation

SHOWN_WEIGHT = 5.0
"""Of the patches that show a name, against one of each that does not: names cover little of a photograph."""


class NamePatchHead(nn.Linear):
    """Names of a patch; used in training only. It starts at zero, so that no random numbers are drawn."""

    def __init__(self, width: int, names: int) -> None:
        super().__init__(width, names)
        nn.init.zeros_(self.weight)
        nn.init.constant_(self.bias, -2.0)


@dataclass(frozen=True)
class NamePatches:
    """Targets and loss of the patches' names.

    Attributes:
        columns: each name's place among the targets of `NamePresence`.
        grid, side: patches along SAM's square input, and its side in pixels.
    """

    columns: dict[str, int]
    grid: int
    side: int

    @classmethod
    def of(cls, model: Any, names: Sequence[str]) -> NamePatches:
        """For the names of the data; gives the model the head that training needs."""
        vision = model.config.sam_config.vision_config
        model.training_heads = NamePatchHead(vision.output_channels, len(names))
        grid = vision.image_size // vision.patch_size
        return cls({name: k for k, name in enumerate(names)}, grid, vision.image_size)

    def targets(self, conversation: Conversation, resized_hws: Sequence[tuple[int, int]]) -> Tensor:
        """`[images, names, patches]` share of each patch that shows a name, 0..1.

        Args:
            resized_hws: of each photograph inside SAM's square.
        """
        covered = np.zeros((len(conversation.images), len(self.columns), self.grid**2), np.float32)
        for region in conversation.regions:
            column = self.columns.get(region.name)
            if column is None or region.mask is None:
                continue
            row = covered[region.image_index, column]
            inside = resized_hws[region.image_index]
            np.maximum(row, patch_coverage(region.mask, inside, self.grid, self.side), out=row)
        return torch.from_numpy(covered)

    def loss(self, model: Any, embeddings: Tensor, covered: Tensor, shown: Tensor, total: float) -> Tensor:
        """Weighted binary cross-entropy over the patches and the names that are known of their image.

        Args:
            embeddings: `[N, C, grid, grid]` what SAM's encoder gives.
            covered: of `targets`.
            shown: `[N, names]` of `NamePresence.targets`; what is below 0 teaches nothing.
            total: how many names are known of the images of the whole step.
        """
        patches = embeddings.float().flatten(2).transpose(1, 2)
        logits = model.training_heads(patches).transpose(1, 2)
        wanted = (2 * covered.to(logits)).clamp(max=1)
        losses = F.binary_cross_entropy_with_logits(
            logits, wanted, pos_weight=logits.new_tensor(SHOWN_WEIGHT), reduction="none"
        )
        known = (shown >= 0).to(logits)
        return (losses.mean(2) * known).sum() / max(total, 1.0)


def patch_coverage(rle: RLE, inside: tuple[int, int], grid: int, side: int) -> NDArray[np.float32]:
    """`[grid * grid]` share of every patch of SAM's square that a mask covers."""
    height, width = rle["size"]
    return _kept_coverage(height, width, rle["counts"], inside, grid, side)


@lru_cache(maxsize=16384)
def _kept_coverage(
    height: int, width: int, counts: str, inside: tuple[int, int], grid: int, side: int
) -> NDArray[np.float32]:
    mask = masks.decode(cast(RLE, {"size": [height, width], "counts": counts}))
    small = shrink_masks(torch.from_numpy(mask)[None], inside, grid, side)
    found: NDArray[np.float32] = small.flatten().numpy()
    found.setflags(write=False)
    return found
