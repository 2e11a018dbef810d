"""MIRAS: CLIP patches that look into a ConvNeXt map -> projection, on the shared forward pass."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ConvNextModel
from transformers import initialization as init

from segue.errors import ModelError
from segue.models.configuration_miras import MirasConfig
from segue.models.gradients import gradients_of
from segue.models.modeling_lisa import LisaModel
from segue.models.visual_tokens import VisualTokens


class PatchMining(nn.Module):
    """Each CLIP patch attends to the ConvNeXt cells that cover the same piece of the picture.

    Single-head, scaled by the square root of the width, added to the patch feature itself. The values' layer
    starts at zero, so that at step 0 the projection sees the features that it was trained on.

    Source: MIRAS's code (Mini-Gemini's patch info mining): norm and linear layer of queries, keys and values.
    The zero start is ours.
    """

    def __init__(self, config: MirasConfig) -> None:
        super().__init__()
        vision, aux = config.vision_config, config.aux_vision_config
        width, aux_width = vision.hidden_size, sum(aux.hidden_sizes)
        self.grid, self.window = vision.image_size // vision.patch_size, 0
        if config.aux_grid % self.grid == 0:
            self.window = config.aux_grid // self.grid
        if not self.window:
            raise ModelError(
                "The grids of the two encoders do not fit.",
                expected=f"a multiple of {self.grid}, the side of CLIP's grid",
                found=str(config.aux_grid),
                where="config.aux_grid",
                fix=f"use {2 * self.grid}",
            )
        self.query = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.key = nn.Sequential(nn.LayerNorm(aux_width), nn.Linear(aux_width, width))
        self.value = nn.Sequential(nn.LayerNorm(aux_width), nn.Linear(aux_width, width))

    def forward(self, patches: Tensor, cells: Tensor) -> Tensor:
        """`[N, g*g, C]` patches and a `[N, C_aux, g*w, g*w]` map to `[N, g*g, C]`."""
        number, channels = cells.shape[:2]
        # Row, row in the window, column, column in the window: the two of a window are brought side by side.
        # 24 x 24 patches, windows of 2: `(N, C, 48, 48)` -> `(N, C, 24, 2, 24, 2)` -> `(N, 576, 4, C)`.
        windows = cells.reshape(number, channels, self.grid, self.window, self.grid, self.window)
        windows = windows.permute(0, 2, 4, 3, 5, 1).reshape(number, self.grid**2, self.window**2, channels)
        queries, keys, values = self.query(patches)[:, :, None], self.key(windows), self.value(windows)
        return patches + F.scaled_dot_product_attention(queries, keys, values)[:, :, 0]


class MirasModel(LisaModel):
    """MIRAS for grounded conversations of several turns, over one or more images.

    Source: MIRAS's paper and code; several images as in PRIMA section 5 (an identifier after every `[SEG]`).
    """

    config_class = MirasConfig

    def build_encoders(self, config: Any) -> None:
        super().build_encoders(config)
        self.aux_vision_model = ConvNextModel(config.aux_vision_config)
        # The norm of the pooled map, which nothing here reads and OpenCLIP's trunk does not have.
        self.aux_vision_model.layernorm = nn.Identity()
        self.fusion = PatchMining(config)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, PatchMining):
            init.zeros_(module.value[1].weight)
            init.zeros_(module.value[1].bias)

    def encode_features(self, **streams: Tensor) -> dict[str, Tensor]:
        """CLIP's patches `[N, P, C]` and the ConvNeXt map `[N, C_aux, G, G]` of all stages at one size."""
        patches = super().encode_features(pixel_values=streams["pixel_values"])
        with gradients_of(self.aux_vision_model):
            states = self.aux_vision_model(
                streams["pixel_values_aux"], output_hidden_states=True
            ).hidden_states
            side = (self.config.aux_grid, self.config.aux_grid)
            # Counted from the end: the stem's own map stands before those of the four stages.
            maps = [
                F.interpolate(state, side, mode="bilinear", align_corners=False)
                for state in states[-len(self.config.aux_vision_config.depths) :]
            ]
        return patches | {"aux_features": torch.cat(maps, dim=1)}

    def encode_images(
        self,
        num_images: list[int],
        pixel_values: Tensor | None = None,
        vision_features: Tensor | None = None,
        pixel_values_aux: Tensor | None = None,
        aux_features: Tensor | None = None,
        **_: Any,
    ) -> VisualTokens:
        """Images to visual tokens, one per CLIP patch.

        Args:
            num_images: B counts that sum to N.
            pixel_values: `[N, 3, S, S]`; with `pixel_values_aux` `[N, 3, A, A]`.
            vision_features: `[N, P, C]` and `aux_features` `[N, C_aux, G, G]` in place of pixels where the
                frozen encoders' outputs are cached.
        """
        features = self.encode_pair(
            {"pixel_values": pixel_values, "pixel_values_aux": pixel_values_aux},
            vision_features=vision_features,
            aux_features=aux_features,
        )
        fused = self.fusion(features["vision_features"], features["aux_features"])
        return super().encode_images(num_images, vision_features=fused)
