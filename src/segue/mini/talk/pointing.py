"""Attention heads that are shown where to look: at the finding of what they are about to name.

Cross-entropy teaches a fresh language model to pick the right finding only through the words that follow, of
which most are right by chance or by grammar. Here heads are told outright, in the loss, which visual token
a phrase comes from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from segue.errors import InputError
from segue.models.modeling_grounded import GroundedModel


class AttentionInputs:
    """Keeps what enters the attention of one layer of the language model while it runs.

    Args:
        model: whose language model is of Llama's form.
        layer, head: of the head that is watched; 0-based.

    Raises:
        InputError: There is no such head.
    """

    def __init__(self, model: GroundedModel, layer: int, head: int) -> None:
        config = model.config.text_config
        shape = (config.num_hidden_layers, config.num_attention_heads)
        if not (0 <= layer < shape[0] and 0 <= head < shape[1]):
            raise InputError(
                "The language model has no such attention head.",
                expected=f"(layer, head) below {shape}",
                found=str((layer, head)),
                where="options.pointing_heads",
                fix="choose a head that it has",
            )
        self.head = head
        self.attention: nn.Module = model.language_model.model.layers[layer].self_attn
        self.hidden: Tensor | None = None
        self.rotary: tuple[Tensor, Tensor] | None = None

    def __enter__(self) -> AttentionInputs:
        self.handle = self.attention.register_forward_pre_hook(self._keep, with_kwargs=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.handle.remove()

    def _keep(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        self.rotary = kwargs["position_embeddings"]

    def queries_and_keys(self) -> tuple[Tensor, Tensor]:
        """Rotated queries and keys of the head, `[B, L, d]` each, queries scaled."""
        assert self.hidden is not None
        assert self.rotary is not None
        attention: Any = self.attention
        shape = (*self.hidden.shape[:-1], -1, attention.head_dim)
        queries = attention.q_proj(self.hidden).view(shape).transpose(1, 2)
        keys = attention.k_proj(self.hidden).view(shape).transpose(1, 2)
        own, shared = self.head, self.head * keys.shape[1] // queries.shape[1]
        one_query, one_key = apply_rotary_pos_emb(
            queries[:, own : own + 1], keys[:, shared : shared + 1], *self.rotary
        )
        return one_query[:, 0] * attention.scaling, one_key[:, 0]


@dataclass(frozen=True)
class PointedStates:
    """States of the language model, and the columns that a head should attend to from them.

    Attributes:
        rows, columns: of each state in its batch.
        starts, stops: columns of what it should see, first and last + 1.
    """

    rows: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    stops: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, row: int, columns: range, seen: range) -> None:
        """States of one row that should see the same."""
        self.rows.extend([row] * len(columns))
        self.columns.extend(columns)
        self.starts.extend([seen.start] * len(columns))
        self.stops.extend([seen.stop] * len(columns))


def pointing_loss(
    queries: Tensor, keys: Tensor, states: PointedStates, total: float | None = None
) -> tuple[Tensor, float]:
    """How far a head is from attending to what each state should see.

    Args:
        queries, keys: `[B, L, d]` each, of `AttentionInputs.queries_and_keys`.
        total: number of states that the loss is a mean over, where these are a share of a step's.

    Returns:
        Mean of -log attention, and the share of the states whose strongest attention is on what they should
        see.

    Source: paper silent; ours.
    """
    if not len(states):
        return queries.sum() * 0.0, 0.0
    rows = torch.tensor(states.rows)
    at, start, stop = (torch.tensor(x)[:, None] for x in (states.columns, states.starts, states.stops))
    scores = torch.einsum("md,mld->ml", queries[rows, at[:, 0]], keys[rows]).float()
    columns = torch.arange(scores.shape[1])[None]
    scores = scores.masked_fill(columns > at, float("-inf"))
    inside = (columns >= start) & (columns < stop)
    on_it = scores.masked_fill(~inside, float("-inf")).logsumexp(1)
    summed = (scores.logsumexp(1) - on_it).sum()
    right = inside.gather(1, scores.detach().argmax(1, keepdim=True)).float().mean()
    return summed / max(total if total is not None else len(states), 1), float(right)
