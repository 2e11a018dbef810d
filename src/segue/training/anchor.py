"""Learning something new without losing what is known: on familiar pictures the encoders keep their outputs.

What stands on the encoders (the language model, cached features) goes on understanding them.

Source: ours, after learning without forgetting (Li and Hoiem 2017).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from segue.models.modeling_prima import PrimaModel


class Anchor:
    """The encoders as they were at the start of a stage.

    Args:
        model: copied; later changes of it do not reach the copy.
    """

    def __init__(self, model: PrimaModel) -> None:
        unused = {id(m): None for name, m in model.named_children() if name in ("sam", "training_heads")}
        self.model: PrimaModel = copy.deepcopy(model, dict(unused)).eval().requires_grad_(False)

    @torch.no_grad()
    def outputs(
        self, pixels: Tensor, aux_pixels: Tensor, instruction: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Both towers' tokens and the visual tokens of single images."""
        clip, dino = self.model.encode_towers(pixels, aux_pixels)
        visual = self.model.encode_images(
            [1] * len(clip), instruction, mask, vision_features=clip, aux_features=dino
        )
        return clip, dino, visual.queries


def relative_error(found: Tensor, kept: Tensor) -> Tensor:
    """Squared error in units of the variance of what is to be kept, `[N, L, D]` both."""
    spread = (kept - kept.mean((0, 1))).square().sum()
    return (found - kept).square().sum() / spread.clamp(min=1e-6)
