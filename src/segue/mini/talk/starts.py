"""What fresh talking models are given before they learn: how to look up, and what the table of names says.

A language model from nothing would need some hundred sightings of each name to find out that it is a name,
that "dogs" are a dog and a puppy is one too; the table of names knows that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from segue.data.language import english
from segue.mini.talk.kinds import Kinds
from segue.models.mini.talking import TalkingModel

ALIKE, OWN = 0.75, 0.65
"""How much of a word's embedding is that of the name which it means, how much its own; squares sum to 1."""

NAME_SHARE, PLURAL_SHARE, BROADER_SHARE = 0.5, 0.4, 0.35
"""How loud are, in names, that they are names; in plurals, that they are plurals; in names, broader kinds."""


def alike_queries(width: int, heads: int) -> Tensor:
    """`[width, width]` one orthonormal projection per head, to be used for queries and keys alike."""
    return torch.cat([torch.linalg.qr(torch.randn(width, width // heads))[0].T for _ in range(heads)])


@torch.no_grad()
def start_alike(model: TalkingModel, layers: int = 2) -> None:
    """Let the first layers attend to what is like what they read: a name in a question to findings of it.

    Source: ours, after mimetic initialisation (Trockman and Kolter 2023).
    """
    text = model.config.text_config
    for layer in model.language_model.model.layers[:layers]:
        start = alike_queries(text.hidden_size, text.num_attention_heads)
        layer.self_attn.q_proj.weight.copy_(start)
        layer.self_attn.k_proj.weight.copy_(start)


@torch.no_grad()
def start_words(model: TalkingModel, tokenizer: Any, kinds: Kinds) -> None:
    """Let embeddings start with what the table of names says: what is a name, a plural, a synonym, a kind.

    Args:
        tokenizer: the model's.
        kinds: the table.

    Source: ours.
    """
    table: Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]
    fresh = table.clone()
    is_name, is_plural = (torch.randn(table.shape[1]) * fresh.std() for _ in range(2))

    def ids(word: str) -> list[int]:
        return list(tokenizer(f" {word}", add_special_tokens=False)["input_ids"])

    named = sorted({i for name in kinds.names for i in ids(kinds.thing(name).phrase())})
    table[named] += NAME_SHARE * is_name
    for name in kinds.names:
        for broader in kinds.kinds[name].broader:
            table[ids(name)[-1]] += BROADER_SHARE * fresh[ids(broader)].mean(0)
    done = set(named)
    for name in kinds.names:
        meant = ids(name)
        for word in kinds.kinds[name].synonyms:
            done |= _let_mean(table, fresh, ids(word)[-1:], meant, done)
    for word in [w for name in kinds.names for w in (name, *kinds.kinds[name].synonyms)]:
        many, one = ids(english.plural(word)), ids(word)
        added = _let_mean(table, fresh, many[-1:], one[-1:], done)
        table[sorted(added)] += PLURAL_SHARE * is_plural
        done |= added


def _let_mean(
    table: Tensor, fresh: Tensor, word: Sequence[int], meant: Sequence[int], done: set[int]
) -> set[int]:
    """Give a word the embedding of what it means, and some of its own; the ids that were changed."""
    new = [i for i in word if i not in done and i not in meant]
    if new:
        table[new] = ALIKE * table[list(meant)].mean(0) + OWN * fresh[new]
    return set(new)


def as_loud(fresh: Tensor, trained: Tensor) -> Tensor:
    """Embeddings `[V, D]` as loud as trained ones on average, so that new words are heard among them."""
    wanted, found = trained.float().norm(dim=1).mean(), fresh.norm(dim=1).mean()
    return fresh * (wanted / found.clamp(min=1e-6)).to(fresh)
