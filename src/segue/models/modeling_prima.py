"""PRIMA: EVA-CLIP x DINOv2 -> instruction-aware Q-Former -> projection, on the shared forward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Dinov2WithRegistersModel, InstructBlipVisionModel
from transformers import initialization as init

from segue.models.configuration_grounded import PrimaConfig
from segue.models.gradients import gradients_of
from segue.models.modeling_grounded import GroundedModel
from segue.models.modeling_lisa import PatchProjection
from segue.models.visual_tokens import (
    FeatureFusion,
    InstructionQueries,
    PatchTokens,
    RelationalQueries,
    VisualTokens,
)


class PrimaModel(GroundedModel):
    """PRIMA for grounded conversations over one or more images.

    Source: PRIMA section 3.2.
    """

    config_class = PrimaConfig
    fusion_class: type[FeatureFusion] = FeatureFusion
    reader_class: type[InstructionQueries] = InstructionQueries

    def __init__(self, config: PrimaConfig) -> None:
        super().__init__(config)
        self.vision_model = InstructBlipVisionModel(config.vision_config)
        if config.aux_vision:
            self.aux_vision_model = Dinov2WithRegistersModel(config.aux_vision_config)
            self.fusion = self.fusion_class(config)
        self.reader = self.reader_class(config) if config.has_queries else PatchTokens(config)
        width = (config.qformer_config if config.has_queries else config.vision_config).hidden_size
        text_width, layers = config.text_config.hidden_size, config.projector_layers
        self.image_projection: nn.Module = nn.Linear(width, text_width)
        if layers > 1:
            self.image_projection = PatchProjection(width, text_width, layers, config.projector_hidden_size)
        self.add_parts(config)
        # Last: it initialises the parts that exist by then.
        self.post_init()

    @property
    def images_read_together(self) -> bool:  # type: ignore[override]
        """True with SQuARE, whose queries attend over all images."""
        return self.config.visual_module == "square"

    def add_parts(self, config: PrimaConfig) -> None:
        """Further parts of a subclass, initialised together with the others. PRIMA has none."""

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, InstructionQueries):
            # transformers' `init` leaves alone what a checkpoint has filled; torch's would not. 0.02: BLIP-2.
            init.normal_(module.query_tokens, std=0.02)
        elif isinstance(module, RelationalQueries):
            init.normal_(module.queries, std=0.02)
            reset_attention(module.attention)
        elif isinstance(module, FeatureFusion):
            reset_attention(module.attention)

    def encode_towers(self, pixel_values: Tensor, pixel_values_aux: Tensor) -> tuple[Tensor, Tensor]:
        """CLIP `[N, Lc, Dc]` and DINOv2 `[N, Ld, Dd]` features; without gradient while a tower is frozen.

        Args:
            pixel_values: `[N, 3, Hc, Wc]`.
            pixel_values_aux: `[N, 3, Hd, Wd]`.
        """
        features = []
        for tower, pixels in ((self.vision_model, pixel_values), (self.aux_vision_model, pixel_values_aux)):
            with gradients_of(tower):
                # `last_hidden_state` has gone through the tower's last norm, LAVIS's `ln_vision`, as the
                # Q-Former expects. DINOv2 fits its positions to any size of picture by itself; EVA-CLIP must
                # get its own 224 pixels.
                features.append(tower(pixels).last_hidden_state)
        return features[0], features[1]

    def encode_features(self, **streams: Tensor) -> dict[str, Tensor]:
        """`vision_features` `[N, Lc, Dc]`, and `aux_features` `[N, Ld, Dd]` where there is DINOv2."""
        if not self.config.aux_vision:
            with gradients_of(self.vision_model):
                return {"vision_features": self.vision_model(streams["pixel_values"]).last_hidden_state}
        vision, aux = self.encode_towers(streams["pixel_values"], streams["pixel_values_aux"])
        return {"vision_features": vision, "aux_features": aux}

    def encode_images(
        self,
        num_images: list[int],
        qformer_input_ids: Tensor | None = None,
        qformer_attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_values_aux: Tensor | None = None,
        vision_features: Tensor | None = None,
        aux_features: Tensor | None = None,
        **_: Any,
    ) -> VisualTokens:
        """Fuse both towers, read each image with its conversation's instruction, project to the LM.

        Args:
            num_images: B counts that sum to N.
            qformer_input_ids: `[B, Lq]`, the instruction in the Q-Former's own vocabulary; without a Q-Former
                neither it nor its mask is read.
            qformer_attention_mask: `[B, Lq]`.
            pixel_values: `[N, 3, Hc, Wc]`; with `pixel_values_aux` `[N, 3, Hd, Wd]`.
            vision_features: `[N, Lc, Dc]` and `aux_features` `[N, Ld, Dd]` in place of pixels where the
                frozen towers' outputs are cached.

        Returns:
            `[N, Q + Lq, D]` tokens, or `[N, Q, D]` unless the text outputs are kept; without a Q-Former Q is
            the number of patches or cells.

        Source: PRIMA section 3.2.
        """
        streams = {"pixel_values": pixel_values}
        if self.config.aux_vision:
            streams["pixel_values_aux"] = pixel_values_aux
        features = self.encode_pair(streams, vision_features=vision_features, aux_features=aux_features)
        fused = features["vision_features"]
        if self.config.aux_vision:
            fused = self.fusion(fused, features["aux_features"])
        outputs, mask = self.reader(fused, qformer_input_ids, qformer_attention_mask, num_images)
        # The instruction's outputs, where they are kept, come after the queries'.
        return VisualTokens(self.image_projection(outputs), mask, outputs, self.config.tokens_per_image)


def reset_attention(attention: nn.MultiheadAttention) -> None:
    """Xavier inputs and a zero output projection: the block starts as the identity on its residual."""
    # torch keeps one `in_proj_weight` where keys and queries are equally wide, else three weights.
    for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
        weight = getattr(attention, name, None)
        if weight is not None:
            init.xavier_uniform_(weight)
    if attention.in_proj_bias is not None:
        init.zeros_(attention.in_proj_bias)
    init.zeros_(attention.out_proj.weight)
    init.zeros_(attention.out_proj.bias)
