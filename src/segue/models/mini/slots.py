"""Queries that start from image content, heads that read objects from them, and sine positions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segue.models.mini.configuration_mini import MiniConfig
from segue.models.visual_tokens import pool_grid


class ContentQueries(nn.Module):
    """Turns pooled image content into the first g x g queries, and adds it again to their outputs.

    A Q-Former trained from scratch through the answer alone learns to ignore the image; a query that starts
    as a piece of the image does not have to find it.

    Source: ours, measured on procedural scenes.
    """

    def __init__(self, config: MiniConfig) -> None:
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

    def __init__(self, config: MiniConfig) -> None:
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
