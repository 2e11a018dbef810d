"""OMG-Seg: a trunk, a pixel decoder, 300 queries, and how sure each query is that it found an object.

Legend: N pictures, Q queries, C width of a query, h x w the grid of masks, a quarter of the picture's side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ConvNextModel
from transformers import initialization as init
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder,
    Mask2FormerPreTrainedModel,
    Mask2FormerTransformerModule,
)

from segue.models.omg_llava.configuration_omg_llava import PerceptionConfig

MASK_FEATURES = "mask_features"
"""Kept of a picture: what a query's code is multiplied with, `[N, C, h, w]`."""

MEMORIES = ("memory_0", "memory_1", "memory_2")
"""Kept of a picture: what queries look at, strides 32, 16 and 8, `[N, C, h, w]` each."""


LAST_STAGE = "last_stage"
"""The trunk's last map, stride 32, `[N, C, H, W]`: what words need beside the objects."""


@dataclass(frozen=True)
class Objects:
    """What the queries found in pictures.

    Attributes:
        queries: `[N, Q, C]` behind the last layer, before its norm.
        masks: `[N, Q, h, w]` logits of the last prediction.
        classes: `[N, Q, classes + 1]` logits, void last.
    """

    queries: Tensor
    masks: Tensor
    classes: Tensor


class Perception(Mask2FormerPreTrainedModel):
    """Mask2Former over OpenCLIP's ConvNeXt, with text as classes. Frozen, in float32.

    Source: OMG-Seg's code (the panoptic head), of which transformers' Mask2Former has the same mathematics.
    """

    config_class = PerceptionConfig

    def __init__(self, config: PerceptionConfig) -> None:
        super().__init__(config)
        width = config.hidden_dim
        # The model and not transformers' backbone, which adds norms that the original does not have.
        self.backbone = ConvNextModel(config.backbone_config)
        # The norm of the pooled map, which nothing here reads.
        self.backbone.layernorm = nn.Identity()
        self.pixel_decoder = Mask2FormerPixelDecoder(config, list(config.backbone_config.hidden_sizes))
        # transformers' own lies on the CPU, whatever device a model is made on (5.23).
        self.pixel_decoder.level_embed = nn.Parameter(torch.empty(len(MEMORIES), config.feature_size))
        self.transformer_module = Mask2FormerTransformerModule(config.feature_size, config)
        self.class_projection = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, config.class_width),
        )  # fmt: skip
        self.mask_pooling = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.prompt_feature = nn.Embedding(1, width)
        self.prompt_kind = nn.Embedding(2, width)
        self.prompt_position = nn.Linear(2 * width, width)
        texts = torch.zeros(config.num_classes, config.prompts_per_class, config.class_width)
        self.register_buffer("class_texts", texts)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Perception):
            # Directions without a meaning, until a checkpoint's file fills them.
            init.normal_(module.class_texts)

    def stages(self, pixels: Tensor) -> list[Tensor]:
        """`[N, 3, S, S]` to the maps of the four stages, strides 4, 8, 16 and 32."""
        states = self.backbone(pixels, output_hidden_states=True).hidden_states
        # Counted from the end: the stem's own map stands before those of the stages.
        return list(states[-len(self.config.backbone_config.depths) :])

    def maps(self, stages: list[Tensor]) -> dict[str, Tensor]:
        """What masks and words need of pictures, see `MASK_FEATURES`, `MEMORIES` and `LAST_STAGE`."""
        decoded = self.pixel_decoder(stages, output_attentions=False, output_hidden_states=False)
        memories = dict(zip(MEMORIES, decoded.multi_scale_features, strict=True))
        return {MASK_FEATURES: decoded.mask_features, LAST_STAGE: stages[-1]} | memories

    def objects(self, maps: dict[str, Tensor]) -> Objects:
        """Ask the learned queries, a picture at a time: ten predictions of 300 masks take 790 MB."""
        number = len(maps[MASK_FEATURES])
        found = [self._objects({name: m[k : k + 1] for name, m in maps.items()}) for k in range(number)]
        return Objects(*(torch.cat([getattr(f, k) for f in found]) for k in ("queries", "masks", "classes")))

    def _objects(self, maps: dict[str, Tensor]) -> Objects:
        asked = self.transformer_module([maps[name] for name in MEMORIES], maps[MASK_FEATURES])
        masks = asked.masks_queries_logits[-1]
        normed = asked.intermediate_hidden_states[-1].transpose(0, 1)
        return Objects(asked.last_hidden_state, masks, self.classify(normed, masks, maps[MASK_FEATURES]))

    def classify(self, queries: Tensor, masks: Tensor, mask_features: Tensor) -> Tensor:
        """Class logits `[N, Q, classes + 1]` of queries behind the last norm `[N, Q, C]`; void is 0.

        Source: OMG-Seg's code (cosine times 100 with the best of each class's texts).
        """
        inside = (masks > 0).to(mask_features.dtype)
        summed = torch.einsum("nchw,nqhw->nqc", mask_features, inside)
        pooled = summed / (inside.sum((-1, -2)) + 1e-8)[..., None]
        codes = F.normalize(self.class_projection(queries + self.mask_pooling(pooled)), dim=-1)
        texts = F.normalize(cast(Tensor, self.class_texts), dim=-1)
        scores = torch.einsum("nqd,cpd->nqcp", codes, texts).amax(-1) * math.exp(self.config.logit_scale)
        return torch.cat([scores, scores.new_zeros(*scores.shape[:2], 1)], dim=-1)
