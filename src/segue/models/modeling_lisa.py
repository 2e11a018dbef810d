"""LISA: CLIP patch features -> projection -> visual tokens, on the shared forward pass."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPVisionModel

from segue.errors import AlignmentError
from segue.models.configuration_lisa import LisaConfig
from segue.models.gradients import gradients_of
from segue.models.modeling_grounded import GroundedModel
from segue.models.visual_tokens import VisualTokens


class PatchProjection(nn.Sequential):
    """Patch features into the LM's space: Linear, or Linear - GELU - Linear.

    Source: LISA's code (one layer), GLaMM's code (two).
    """

    def __init__(self, width: int, text_width: int, layers: int, inner: int | None = None) -> None:
        # The places 0 and 2 are also LLaVA's names: `mm_projector.0`, `mm_projector.2`.
        inner = inner or text_width
        widths = [width, *[inner] * (layers - 1), text_width]
        modules: list[nn.Module] = [nn.Linear(widths[0], widths[1])]
        for before, after in pairwise(widths[1:]):
            modules += [nn.GELU(), nn.Linear(before, after)]
        super().__init__(*modules)


class LisaModel(GroundedModel):
    """LISA for grounded conversations over one or more images.

    Source: LISA's code; several images as in PRIMA section 5 (an identifier after every `[SEG]`).
    """

    config_class = LisaConfig
    images_read_together = False

    def __init__(self, config: LisaConfig) -> None:
        super().__init__(config)
        self.build_encoders(config)
        self.post_init()

    def build_encoders(self, config: Any) -> None:
        """The parts that `encode_images` needs; families with more of them add theirs."""
        self.vision_model = CLIPVisionModel(config.vision_config)
        self.image_projection = PatchProjection(
            config.vision_config.hidden_size, config.text_config.hidden_size, config.projector_layers
        )

    def encode_features(self, **streams: Tensor) -> dict[str, Tensor]:
        """CLIP's patch features `[N, P, C]` of `pixel_values`; without gradient while the tower is frozen."""
        with gradients_of(self.vision_model):
            states = self.vision_model(streams["pixel_values"], output_hidden_states=True).hidden_states
        # hidden_states[0] are the embeddings, so -2 is what the last block but one gives.
        # Without the class token: LLaVA's projection was trained on patches alone.
        return {"vision_features": states[self.config.vision_select_layer][:, 1:]}

    def encode_images(
        self,
        num_images: list[int],
        pixel_values: Tensor | None = None,
        vision_features: Tensor | None = None,
        **_: Any,
    ) -> VisualTokens:
        """Images to visual tokens, one per patch.

        Args:
            num_images: B counts that sum to N.
            pixel_values: `[N, 3, S, S]`.
            vision_features: `[N, P, C]` in place of pixels where the frozen tower's output is cached.
        """
        if vision_features is None:
            if pixel_values is None:
                raise AlignmentError(
                    "no images",
                    expected="pixel_values or vision_features",
                    found="neither",
                    where="encode_images",
                    fix="pass what the processor returns",
                )
            vision_features = self.encode_features(pixel_values=pixel_values)["vision_features"]
        tokens = self.image_projection(vision_features)
        # Every patch is a token: all images have equally many, so none is padding.
        return VisualTokens(tokens, tokens.new_ones(tokens.shape[:2], dtype=torch.bool), vision_features)
