"""An attention head that is shown where to look: at the object slot of what it is about to name.

Cross-entropy teaches a fresh language model to pick the right object only through the words that follow, of
which most are right by chance or by grammar. Here one head is told outright, in the loss, which visual token
the first words of a phrase come from.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from segue.errors import InputError
from segue.models.modeling_prima import PrimaModel

WORDS = 2
"""How many predictions of a phrase are shown the slot: its colour and its kind."""

UNKNOWN = -1


class AttentionInputs:
    """Keeps what enters the attention of one layer of the language model while it runs.

    Args:
        model: whose language model is of Llama's form.
        layer, head: of the head that is watched; 0-based.

    Raises:
        InputError: There is no such head.
    """

    def __init__(self, model: PrimaModel, layer: int, head: int) -> None:
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


def phrase_rows(
    input_ids: Tensor, labels: Tensor, phrase_token_id: int, seg_token_id: int
) -> list[tuple[int, int]]:
    """For every labelled `[SEG]` in text order: its row, and the position of its phrase's `<p>`."""
    found = []
    ids, wanted = input_ids.tolist(), (labels == seg_token_id).tolist()
    for row, (tokens, flags) in enumerate(zip(ids, wanted, strict=True)):
        opened = UNKNOWN
        for place, (token, flag) in enumerate(zip(tokens, flags, strict=True)):
            if token == phrase_token_id:
                opened = place
            elif flag:
                found.append((row, opened))
    return found


def pointing_loss(
    seen: AttentionInputs,
    input_ids: Tensor,
    labels: Tensor,
    targets: Tensor,
    *,
    image_token_id: int,
    phrase_token_id: int,
    seg_token_id: int,
    total: float | None = None,
) -> tuple[Tensor, float]:
    """How far a head is from attending to the slot of what is named.

    Args:
        seen: filled by the forward pass.
        targets: `[K]` for every labelled `[SEG]` in text order: the place of its object's slot among the
            visual tokens of its conversation; `UNKNOWN` where it has none.

    Returns:
        Mean of -log attention over the predictions of the first `WORDS` tokens of each phrase, and the share
        of them whose strongest visual token is the right one.

    Source: paper silent; ours.
    """
    queries, keys = seen.queries_and_keys()
    rows, columns, wanted = [], [], []
    placeholders = [(row == image_token_id).nonzero()[:, 0] for row in input_ids]
    places = phrase_rows(input_ids, labels, phrase_token_id, seg_token_id)
    for (row, opened), target in zip(places, targets.tolist(), strict=True):
        if target == UNKNOWN or opened == UNKNOWN:
            continue
        for word in range(WORDS):
            rows.append(row)
            columns.append(opened + word)
            wanted.append(int(placeholders[row][target]))
    if not rows:
        return queries.sum() * 0.0, 0.0
    at, goal = torch.tensor(columns), torch.tensor(wanted)
    scores = torch.einsum("md,mld->ml", queries[rows, at], keys[rows])
    scores = scores.masked_fill(torch.arange(scores.shape[1])[None] > at[:, None], float("-inf"))
    images = (input_ids == image_token_id)[rows]
    right = (scores.detach().masked_fill(~images, float("-inf")).argmax(1) == goal).float().mean()
    summed = F.cross_entropy(scores.float(), goal, reduction="sum")
    return summed / max(WORDS * total if total is not None else len(goal), 1), float(right)
