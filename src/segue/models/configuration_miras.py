"""Configuration of MIRAS: LISA's frame with a second, fine encoder whose map every patch looks into."""

from __future__ import annotations

from typing import Any

from transformers import ConvNextConfig

from segue.models.configuration_lisa import LisaConfig


class MirasConfig(LisaConfig):
    """MIRAS: CLIP-L/14 at 336 pixels, ConvNeXt-L at 768, fused by patch mining; 576 visual tokens an image.

    Source: MIRAS's paper (dual encoder, semantic region alignment, loss) and code (sizes); where the two
    differ, docs/provenance.md says what is followed.
    """

    model_type = "miras"
    sub_configs_defaults = LisaConfig.sub_configs_defaults | {"aux_vision_config": ConvNextConfig}

    aux_vision_config: Any = None
    """OpenCLIP's ConvNeXt-L without its last norm and head. Stream `pixel_values_aux`."""

    aux_grid: int = 48
    """Side of the grid to which the maps of all ConvNeXt stages are brought; a multiple of CLIP's grid.

    At 48 each of 24 x 24 patches looks into 2 x 2 cells; Mini-Gemini's weights were trained at 192, 8 x 8.
    Source: MIRAS's code.
    """

    projector_layers: int = 2
    """Linear - GELU - Linear, LLaVA-1.5's. Source: MIRAS's code."""

    region_alignment: bool = True
    """On; see `GroundedConfig`. Needs `phrase_token_id`, the id of `[OBJ]`."""
