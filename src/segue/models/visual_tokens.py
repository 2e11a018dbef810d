"""PRIMA's vision module: CLIP x DINOv2 fusion, instruction-aware and relational queries (SQuARE)."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.instructblip import InstructBlipQFormerModel
from transformers.models.instructblip.modeling_instructblip import InstructBlipQFormerLayer

from segue.models.configuration_grounded import PrimaConfig


@dataclass
class VisualTokens:
    """An image's contribution to the language model.

    Attributes:
        tokens: `[N, T, D]` in the LM's space.
        mask: `[N, T]` bool, False where a token is padding.
        outputs: `[N, T, C]` before the projection: the Q-Former's outputs, or features.
        num_queries: Q, how many of them stand at queries; all where there are no others.
        extras: readings of a family's own by name, for its own later steps; shared code never reads them.
    """

    tokens: Tensor
    mask: Tensor
    outputs: Tensor
    num_queries: int | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)

    @property
    def queries(self) -> Tensor:
        """`[N, Q, C]` outputs at the queries.

        Cut out anew for every reader: sums of gradients then round as they always did, and old runs repeat to
        the bit.
        """
        return self.outputs if self.num_queries is None else self.outputs[:, : self.num_queries]


class FeatureFusion(nn.Module):
    """Cross-attention with CLIP tokens as query and DINOv2 tokens as key and value.

    The output projection starts at zero, so that at step 0 the Q-Former sees the features that it was trained
    on.

    Source: PRIMA section 3.2 "Semantic Feature Extractor"; zero start and norms are ours.
    """

    def __init__(self, config: PrimaConfig) -> None:
        super().__init__()
        width, aux_width = config.vision_config.hidden_size, config.aux_vision_config.hidden_size
        self.query_norm = nn.LayerNorm(width)
        self.key_norm = nn.LayerNorm(aux_width)
        self.attention = nn.MultiheadAttention(
            width, config.fusion_heads, kdim=aux_width, vdim=aux_width, batch_first=True
        )

    def forward(self, clip_features: Tensor, dino_features: Tensor) -> Tensor:
        """`[N, Lc, Dc]` and `[N, Ld, Dd]` to `[N, Lc, Dc]`; both start with their class token."""
        keys = self.key_norm(dino_features)
        # Without weights torch runs its fused kernel and never builds `(N, heads, 257, 1029)`.
        attended, _ = self.attention(self.query_norm(clip_features), keys, keys, need_weights=False)
        return clip_features + attended


class RelationalQueries(nn.Module):
    """SQuARE: learnable queries attend over all images of the conversation together.

    Each output is added to the global query of the same place, so every image's tokens know of the other
    images. With the output projection at zero, where it starts, this is the plain instruction-aware Q-Former.

    Source: the newer version of PRIMA (architecture figure); dimensions and zero start are ours.
    """

    def __init__(self, config: PrimaConfig) -> None:
        super().__init__()
        width = config.qformer_config.hidden_size
        seen = config.vision_config.hidden_size
        read = config.relational_key_width or seen
        self.queries = nn.Parameter(torch.empty(1, config.num_query_tokens, width))
        self.key_projection = nn.Linear(seen, read) if config.relational_key_width else None
        self.attention = nn.MultiheadAttention(
            width, config.qformer_config.num_attention_heads, kdim=read, vdim=read, batch_first=True
        )
        self.norm = (
            nn.LayerNorm(width, eps=config.qformer_config.layer_norm_eps) if config.relational_norm else None
        )

    def forward(self, features: Tensor, num_images: list[int]) -> Tensor:
        """`[N, L, D]` features of all conversations to `[N, Q, C]`, equal within each conversation."""
        if self.key_projection is not None:
            features = self.key_projection(features)
        # Two conversations of 2 and 1 images, 257 features each: rows of 514 and 257, both padded to 514.
        groups = features.split(num_images)
        longest = max(num_images) * features.shape[1]
        keys = torch.stack(
            [F.pad(g.flatten(0, 1), (0, 0, 0, longest - g.shape[0] * g.shape[1])) for g in groups]
        )
        lengths = torch.tensor([g.shape[0] * g.shape[1] for g in groups], device=features.device)
        # True is masked: cells beyond a conversation's own images are zeros that nobody may attend to.
        padding = torch.arange(longest, device=features.device)[None] >= lengths[:, None]
        queries = self.queries.expand(len(groups), -1, -1)
        found = self.attention(queries, keys, keys, key_padding_mask=padding, need_weights=False)[0]
        if self.norm is not None:
            found = self.norm(queries + found)
        # Back from one row a conversation to one an image.
        return found[conversation_of_images(num_images)]


def conversation_of_images(num_images: list[int]) -> list[int]:
    """The conversation that each of the N images belongs to: `[2, 1]` gives `[0, 0, 1]`."""
    return [conversation for conversation, number in enumerate(num_images) for _ in range(number)]


def pool_grid(tokens: Tensor, side: int) -> Tensor:
    """Average `[N, s*s, D]` patch tokens over cells to `[N, side*side, D]`, row by row.

    The class token, and registers, must have been taken off.
    """
    grid = int(tokens.shape[1] ** 0.5)
    maps = tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], grid, grid)
    return F.adaptive_avg_pool2d(maps, side).flatten(2).transpose(1, 2)


def grid_of(cells: int) -> tuple[int, int]:
    """Rows and columns of the grid of so many cells that is nearest to a square: 32 is 4 x 8."""
    rows = next(n for n in range(isqrt(cells), 0, -1) if cells % n == 0)
    return rows, cells // rows


class PatchTokens(nn.Module):
    """Patches themselves in place of a Q-Former's queries: all of them, or their means over a grid.

    It has no parameters. The instruction is not read, so that an image's tokens depend on the image alone.

    Source: PRIMA table 4 ("no Q-Former"); newer version, rows "pooling" and "projection". How they pool is
    not said; ours.
    """

    def __init__(self, config: PrimaConfig) -> None:
        super().__init__()
        self.grid = grid_of(config.num_query_tokens) if config.visual_module == "pooling" else None

    def forward(
        self, features: Tensor, instruction_ids: Tensor, instruction_mask: Tensor, num_images: list[int]
    ) -> tuple[Tensor, Tensor]:
        """`[N, 1 + P, D]` features to `[N, T, D]` and their `[N, T]` mask; see `InstructionQueries`."""
        patches = features[:, 1:]  # the class token covers no place
        if self.grid is not None:
            side = isqrt(patches.shape[1])
            maps = patches.transpose(1, 2).unflatten(2, (side, side))
            patches = F.adaptive_avg_pool2d(maps, self.grid).flatten(2).transpose(1, 2)
        return patches, patches.new_ones(patches.shape[:2], dtype=torch.bool)


class CrossAttendingLayer(InstructBlipQFormerLayer):
    """A layer of InstructBLIP's Q-Former in which the instruction's positions cross-attend as the queries do.

    It has the layer's own parameters, under the same names.

    Source: PRIMA section 3.2 as it is worded; see `PrimaConfig.instruction_cross_attention`.
    """

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        query_length: int = 0,
        **kwargs: Any,
    ) -> Tensor:
        """`[N, Q + Lq, C]` states to the same, of `[N, L, D]` features; the first Q are the queries."""
        states = self.attention(hidden_states, attention_mask=attention_mask, **kwargs)
        if self.has_cross_attention:
            states = self.crossattention(
                states,
                attention_mask=attention_mask,
                encoder_hidden_states=encoder_hidden_states,
                encoder_attention_mask=encoder_attention_mask,
                **kwargs,
            )
        # Feed-forward weights stay apart: BERT's for the text, BLIP-2's for the queries.
        queries, text = states[:, :query_length], states[:, query_length:]
        return torch.cat([self.feed_forward_chunk_query(queries), self.feed_forward_chunk(text)], dim=1)


class InstructionQueries(nn.Module):
    """Queries plus the instruction read one image's fused features through the Q-Former.

    Queries cross-attend to the image. The instruction's positions do not, unless
    `instruction_cross_attention` is on: their outputs know of the image what self-attention brings them from
    the queries, so nothing after the first layer that cross-attends.

    Source: PRIMA section 3.2: I_E = Q-Former(q (+) T_Q, I_V), so L_I = L_q + L_Q tokens an image; who
    cross-attends InstructBLIP's code.
    """

    def __init__(self, config: PrimaConfig) -> None:
        super().__init__()
        self.keep_text_outputs = config.keep_text_outputs
        self.query_tokens = nn.Parameter(
            torch.empty(1, config.num_query_tokens, config.qformer_config.hidden_size)
        )
        self.relational = RelationalQueries(config) if config.visual_module == "square" else None
        # Before the Q-Former: the order of parts is that of the optimiser's states in saved runs.
        self.add_parts(config)
        self.qformer = InstructBlipQFormerModel(config.qformer_config)
        if config.instruction_cross_attention:
            for layer in self.qformer.encoder.layer:
                # The class alone changes: parameters, their names and their start stay the layer's.
                layer.__class__ = CrossAttendingLayer

    def add_parts(self, config: PrimaConfig) -> None:
        """Further parts of a subclass. PRIMA has none."""

    def start(self, queries: Tensor, features: Tensor) -> Tensor:
        """`[N, Q, C]` queries for the Q-Former, given the `[N, L, D]` features. PRIMA's stay as they are."""
        return queries

    def finish(self, outputs: Tensor, features: Tensor) -> Tensor:
        """`[N, Q + Lq, C]` outputs for the projection, given the `[N, L, D]` features. PRIMA's stay too."""
        return outputs

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
        # Every image is read with its conversation's instruction: for instructions a, b and [2, 1] images the
        # rows of text are a, a, b.
        rows = conversation_of_images(num_images)
        ids, text_mask = instruction_ids[rows], instruction_mask[rows]
        queries = self.query_tokens.expand(features.shape[0], -1, -1)
        if self.relational is not None:
            queries = queries + self.relational(features, num_images)
        queries = self.start(queries, features)
        query_mask = torch.ones(queries.shape[:2], dtype=text_mask.dtype, device=text_mask.device)
        outputs = self.qformer(
            input_ids=ids,
            attention_mask=torch.cat([query_mask, text_mask], dim=1),
            query_embeds=queries,
            # No mask for these: every image has all of its features.
            encoder_hidden_states=features,
        ).last_hidden_state
        outputs = self.finish(outputs, features)
        if not self.keep_text_outputs:
            return outputs[:, : queries.shape[1]], query_mask.bool()
        return outputs, torch.cat([query_mask, text_mask], dim=1).bool()
