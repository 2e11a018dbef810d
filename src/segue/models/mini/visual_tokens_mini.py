"""The embedded model's fusion and reader: PRIMA's, with what lets a small model learn to look."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segue.models.configuration_grounded import PrimaConfig
from segue.models.mini.configuration_mini import MiniConfig
from segue.models.mini.slots import ContentQueries
from segue.models.visual_tokens import FeatureFusion, InstructionQueries, pool_grid


class MiniFusion(FeatureFusion):
    """PRIMA's fusion, then a feed-forward block, pooled DINOv2 features and positions, each an option.

    Source: ours.
    """

    def __init__(self, config: MiniConfig) -> None:
        super().__init__(config)
        width, aux_width = config.vision_config.hidden_size, config.aux_vision_config.hidden_size
        self.ffn: nn.Module | None = None
        if config.fusion_ffn:
            self.ffn = nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
            )
        self.pooled_skip = nn.Linear(aux_width, width) if config.fusion_pooled_skip else None
        self.positions: nn.Parameter | None = None
        if config.fusion_positions:
            side = config.vision_config.image_size // config.vision_config.patch_size
            self.positions = nn.Parameter(torch.empty(1, 1 + side * side, width))
        self.num_prefix_tokens = 1 + config.aux_vision_config.num_register_tokens

    def forward(self, clip_features: Tensor, dino_features: Tensor) -> Tensor:
        """`[N, Lc, Dc]` and `[N, Ld, Dd]` to `[N, Lc, Dc]`; both start with their class token."""
        fused = super().forward(clip_features, dino_features)
        if self.ffn is not None:
            fused = fused + self.ffn(fused)
        if self.pooled_skip is not None:
            side = int((clip_features.shape[1] - 1) ** 0.5)
            pooled = pool_grid(dino_features[:, self.num_prefix_tokens :], side)
            fused = torch.cat([fused[:, :1], fused[:, 1:] + self.pooled_skip(pooled)], dim=1)
        if self.positions is not None:
            fused = fused + self.positions
        return fused


class MiniQueries(InstructionQueries):
    """PRIMA's reader, whose first queries start from what is seen; see `ContentQueries`. Source: ours."""

    content: ContentQueries | None

    def add_parts(self, config: PrimaConfig) -> None:
        assert isinstance(config, MiniConfig)
        self.content = ContentQueries(config) if config.content_queries else None

    def start(self, queries: Tensor, features: Tensor) -> Tensor:
        """`[N, Q, C]` queries, the first g * g of them from the content of the `[N, L, D]` features."""
        return queries if self.content is None else self.content.start(queries, features)

    def finish(self, outputs: Tensor, features: Tensor) -> Tensor:
        """`[N, Q + Lq, C]` outputs with that content added again."""
        return outputs if self.content is None else self.content.finish(outputs, features)
