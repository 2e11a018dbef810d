"""PRIMA's vision module: CLIP x DINOv2 fusion, instruction-aware and relational queries (SQuARE), slots."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.instructblip import InstructBlipQFormerModel

from segue.models.configuration_grounded import PrimaConfig


@dataclass
class VisualTokens:
    """What an image contributes to the language model.

    Attributes:
        tokens: `[N, T, D]` in the LM's space.
        mask: `[N, T]` bool, False where a token is padding.
        queries: `[N, Q, C]` before the projection: Q-Former outputs at the query positions, or features.
    """

    tokens: Tensor
    mask: Tensor
    queries: Tensor
    asked: Tensor | None = None


class FeatureFusion(nn.Module):
    """Cross-attention with CLIP tokens as query and DINOv2 tokens as key and value.

    The output projection starts at zero, so that at step 0 the Q-Former sees the features that it was trained
    on.

    Source: PRIMA section 3.2 "Semantic Feature Extractor"; zero start, norms and options are ours.
    """

    def __init__(self, config: PrimaConfig) -> None:
        super().__init__()
        width, aux_width = config.vision_config.hidden_size, config.aux_vision_config.hidden_size
        self.query_norm = nn.LayerNorm(width)
        self.key_norm = nn.LayerNorm(aux_width)
        self.attention = nn.MultiheadAttention(
            width, config.fusion_heads, kdim=aux_width, vdim=aux_width, batch_first=True
        )
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
        keys = self.key_norm(dino_features)
        fused = (
            clip_features + self.attention(self.query_norm(clip_features), keys, keys, need_weights=False)[0]
        )
        if self.ffn is not None:
            fused = fused + self.ffn(fused)
        if self.pooled_skip is not None:
            side = int((clip_features.shape[1] - 1) ** 0.5)
            pooled = pool_grid(dino_features[:, self.num_prefix_tokens :], side)
            fused = torch.cat([fused[:, :1], fused[:, 1:] + self.pooled_skip(pooled)], dim=1)
        if self.positions is not None:
            fused = fused + self.positions
        return fused


class RelationalQueries(nn.Module):
    """SQuARE: learnable queries attend over all images of the conversation together.

    Each output is added to the global query of the same place, so every image's tokens know of the other
    images. With the output projection at zero, where it starts, this is the plain instruction-aware Q-Former.

    Source: the newer version of PRIMA (architecture figure); dimensions and zero start are ours.
    """

    def __init__(self, config: PrimaConfig) -> None:
        super().__init__()
        width = config.qformer_config.hidden_size
        self.queries = nn.Parameter(torch.empty(1, config.num_query_tokens, width))
        self.attention = nn.MultiheadAttention(
            width,
            config.qformer_config.num_attention_heads,
            kdim=config.vision_config.hidden_size,
            vdim=config.vision_config.hidden_size,
            batch_first=True,
        )

    def forward(self, features: Tensor, num_images: list[int]) -> Tensor:
        """`[N, L, D]` features of all conversations to `[N, Q, C]`, equal within each conversation."""
        groups = features.split(num_images)
        longest = max(num_images) * features.shape[1]
        keys = torch.stack(
            [F.pad(g.flatten(0, 1), (0, 0, 0, longest - g.shape[0] * g.shape[1])) for g in groups]
        )
        lengths = torch.tensor([g.shape[0] * g.shape[1] for g in groups], device=features.device)
        padding = torch.arange(longest, device=features.device)[None] >= lengths[:, None]
        queries = self.queries.expand(len(groups), -1, -1)
        found = self.attention(queries, keys, keys, key_padding_mask=padding, need_weights=False)[0]
        return found.repeat_interleave(torch.tensor(num_images, device=found.device), dim=0)


class ContentQueries(nn.Module):
    """Turns pooled image content into the first g x g queries, and adds it again to their outputs.

    A Q-Former trained from scratch through the answer alone learns to ignore the image; a query that starts
    as a piece of the image does not have to find it.

    Source: ours, measured on procedural scenes.
    """

    def __init__(self, config: PrimaConfig) -> None:
        super().__init__()
        width, inner = config.vision_config.hidden_size, config.qformer_config.hidden_size
        self.side = config.content_queries
        self.num_queries = config.num_query_tokens
        self.project = nn.Linear(width, inner)
        self.skip = nn.Linear(width, inner) if config.content_skip else None
        self.skip_norm = nn.LayerNorm(inner) if config.content_skip else None

    def start(self, queries: Tensor, features: Tensor) -> Tensor:
        """`[N, Q, C]` queries plus the pooled content of `[N, L, D]` features on the first g*g of them."""
        content = self.project(pool_grid(features[:, 1:], self.side))
        return queries + F.pad(content, (0, 0, 0, self.num_queries - content.shape[1]))

    def finish(self, outputs: Tensor, features: Tensor) -> Tensor:
        """`[N, T, C]` Q-Former outputs with the content added again to the first g*g of them."""
        if self.skip is None or self.skip_norm is None:
            return outputs
        content = self.skip(pool_grid(features[:, 1:], self.side))
        grid = self.skip_norm(outputs[:, : content.shape[1]] + content)
        return torch.cat([grid, outputs[:, content.shape[1] :]], dim=1)


class ObjectSlotHeads(nn.Module):
    """Auxiliary readouts: what a slot (or any query) says about the object that it stands for.

    Source: ours; a live reading of what the visual tokens can name at all.
    """

    def __init__(self, config: PrimaConfig) -> None:
        super().__init__()
        width = config.qformer_config.hidden_size
        self.num_slots = config.num_object_slots
        self.classes = nn.Linear(width, len(config.slot_classes) + 1)
        self.attributes = nn.Linear(width, max(1, len(config.slot_attributes)))
        self.geometry = nn.Linear(width, 3)
        self.relevance: nn.Sequential | None = None
        self.mark: nn.Parameter | None = None
        if config.slot_relevance:
            self.relevance = nn.Sequential(nn.Linear(width + 4, 64), nn.GELU(), nn.Linear(64, 1))
            self.mark = nn.Parameter(torch.empty(config.text_config.hidden_size))

    def forward(self, queries: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`[N, Q, C]` to class logits `[N, Q, classes + 1]`, attribute logits, x y log-area `[N, Q, 3]`."""
        return self.classes(queries), self.attributes(queries), self.geometry(queries)

    def asked(self, queries: Tensor, named: Tensor) -> Tensor:
        """Does the instruction ask for this slot's object?

        Args:
            queries: `[N, Q, C]`; the last ones are the slots.
            named: `[N, classes + attributes]`, 1 for the names that the instruction contains.

        Returns:
            `[N, slots]` logits.
        """
        assert self.relevance is not None
        slots = queries[:, -self.num_slots :]
        classes, attributes, _ = self(slots)
        number = classes.shape[-1] - 1
        readings = (classes.softmax(-1)[..., :-1].detach(), attributes.softmax(-1).detach())
        hints = []
        for read, words in zip(
            readings, named.split([number, named.shape[-1] - number], dim=-1), strict=True
        ):
            some = words.sum(-1).clamp(max=1)[:, None, None].expand(-1, slots.shape[1], 1)
            hints += [read @ words[..., None], some]
        return self.relevance(torch.cat([slots, *hints], dim=-1))[..., 0]


def start_positions(side: int, width: int) -> Tensor:
    """`[1, 1 + side * side, width]` nothing for the class token, half-size sines for the patches."""
    return torch.cat([torch.zeros(1, width), 0.5 * sine_positions(side, width)])[None]


def sine_positions(side: int, width: int) -> Tensor:
    """`[side * side, width]` sines and cosines of both coordinates, a quarter of the width each."""
    steps = (torch.arange(side) + 0.5) / side * 2 * math.pi
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    rates = torch.linspace(0.25, side / 6, width // 4)
    waves = [axis.reshape(-1, 1) * rates for axis in (columns, rows)]
    return torch.cat([f(w) for w in waves for f in (torch.sin, torch.cos)], dim=1)


def pool_grid(tokens: Tensor, side: int) -> Tensor:
    """Average `[N, s*s, D]` patch tokens over cells to `[N, side*side, D]`, row by row."""
    grid = int(tokens.shape[1] ** 0.5)
    maps = tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], grid, grid)
    return F.adaptive_avg_pool2d(maps, side).flatten(2).transpose(1, 2)


class InstructionQueries(nn.Module):
    """Queries plus the instruction read one image's fused features through the Q-Former.

    Source: PRIMA section 3.2: I_E = Q-Former(q (+) T_Q, I_V), so L_I = L_q + L_Q tokens an image.
    """

    def __init__(self, config: PrimaConfig) -> None:
        super().__init__()
        self.keep_text_outputs = config.keep_text_outputs
        self.query_tokens = nn.Parameter(
            torch.empty(1, config.num_query_tokens, config.qformer_config.hidden_size)
        )
        self.relational = RelationalQueries(config) if config.visual_module == "square" else None
        self.content = ContentQueries(config) if config.content_queries else None
        self.qformer = InstructBlipQFormerModel(config.qformer_config)

    def forward(
        self, features: Tensor, instruction_ids: Tensor, instruction_mask: Tensor, num_images: list[int]
    ) -> tuple[Tensor, Tensor]:
        """Read every image with its conversation's instruction.

        Args:
            features: `[N, L, D]` fused features.
            instruction_ids: `[B, Lq]` ids of the Q-Former's tokenizer.
            instruction_mask: `[B, Lq]`, 1 where there is a token.
            num_images: B counts that sum to N.

        Returns:
            `[N, Q + Lq, C]` outputs (`[N, Q, C]` unless text outputs are kept) and their `[N, ...]` bool
            mask.
        """
        counts = torch.tensor(num_images, device=features.device)
        ids = instruction_ids.repeat_interleave(counts, dim=0)
        text_mask = instruction_mask.repeat_interleave(counts, dim=0)
        queries = self.query_tokens.expand(features.shape[0], -1, -1)
        if self.relational is not None:
            queries = queries + self.relational(features, num_images)
        if self.content is not None:
            queries = self.content.start(queries, features)
        query_mask = torch.ones(queries.shape[:2], dtype=text_mask.dtype, device=text_mask.device)
        outputs = self.qformer(
            input_ids=ids,
            attention_mask=torch.cat([query_mask, text_mask], dim=1),
            query_embeds=queries,
            encoder_hidden_states=features,
        ).last_hidden_state
        if self.content is not None:
            outputs = self.content.finish(outputs, features)
        if not self.keep_text_outputs:
            return outputs[:, : queries.shape[1]], query_mask.bool()
        return outputs, torch.cat([query_mask, text_mask], dim=1).bool()
