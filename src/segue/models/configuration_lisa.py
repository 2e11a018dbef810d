"""Configurations of LISA and GLaMM: CLIP patch features through a projector, every patch a visual token."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, CLIPVisionConfig
from transformers.configuration_utils import SubConfigSpec
from transformers.models.sam import SamConfig

from segue.errors import ModelError
from segue.models.configuration_grounded import GroundedConfig


class LisaConfig(GroundedConfig):
    """LISA: CLIP-L/14 at 224 pixels, one linear projection, 256 visual tokens an image.

    Source: LISA's code.
    """

    model_type = "lisa"
    sub_configs_defaults = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
        "sam_config": SamConfig,
        "vision_config": CLIPVisionConfig,
    }

    vision_config: Any = None
    """CLIP. Stream `pixel_values`. An image has `(image_size // patch_size)**2` visual tokens."""

    vision_select_layer: int = -2
    """Index of the CLIP hidden state that is the feature, class token dropped. Source: LLaVA's code."""

    projector_layers: int = 1
    """Linear layers of the projection into the LM, with GELU between them. Source: LISA's code."""

    pixel_loss: str = "bce"
    """Both code bases compute plain binary cross-entropy."""

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.projector_layers not in (1, 2):
            raise ModelError(
                "unknown projector",
                expected="1 (linear) or 2 (linear, GELU, linear) layers",
                found=str(self.projector_layers),
                where="config.projector_layers",
                fix="choose one of the two",
            )

    @property
    def tokens_per_image(self) -> int:
        """Visual tokens of one image: 256 for LISA, 576 for GLaMM."""
        return int((self.vision_config.image_size // self.vision_config.patch_size) ** 2)


class GlammConfig(LisaConfig):
    """GLaMM: CLIP-L/14 at 336 pixels, a two-layer projection, 576 visual tokens an image.

    Its region encoder, which only reads boxes drawn by the user, is left out.

    Source: GLaMM's code.
    """

    model_type = "glamm"

    projector_layers: int = 2
    """Linear - GELU - Linear. Source: GLaMM's code."""
