"""Findings as visual tokens: one token a finding, the sum of the language model's own embeddings of its words.

The model then reads an image as it reads words, and can be taught from lists that no picture was made for.

Legend: N images, F findings an image, W words a finding, D width of the language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segue.models.mini.findings import MOST_FINDINGS, Finding, listed

SAID = 7
"""Columns for what is said of a finding (presence, place, size, colour); those after them spell its name."""

NOTHING = "nothing"
"""The word of a place in the list that no finding takes."""

PADDING = -1


def finding_ids(tokenizer: Any, images: Sequence[Sequence[Finding]]) -> Tensor:
    """The words of images' findings as ids, `[N, F, W]`; `PADDING` where there is none.

    Args:
        tokenizer: the language model's.
        images: findings of each image, in any order: they are `listed` here.

    Source: paper silent; ours.
    """
    rows = []
    for findings in images:
        row = [_ids(tokenizer, finding) for finding in listed(findings)]
        empty = [PADDING] * SAID + _word(tokenizer, NOTHING)
        rows.append(row + [empty] * (MOST_FINDINGS - len(row)))
    longest = max(len(ids) for row in rows for ids in row)
    return torch.tensor([[ids + [PADDING] * (longest - len(ids)) for ids in row] for row in rows])


def _ids(tokenizer: Any, finding: Finding) -> list[int]:
    name, *said = finding.words
    ids = [i for word in said for i in _word(tokenizer, word)]
    return ids + [PADDING] * (SAID - len(ids)) + _word(tokenizer, name)


def _word(tokenizer: Any, word: str) -> list[int]:
    return list(tokenizer(f" {word}", add_special_tokens=False)["input_ids"])


def stack_finding_ids(images: Sequence[Tensor]) -> Tensor:
    """Ids of several conversations, each `[n, F, W_i]`, as `[N, F, W]`."""
    longest = max(ids.shape[-1] for ids in images)
    return torch.cat([F.pad(ids, (0, longest - ids.shape[-1]), value=PADDING) for ids in images])


def embed_findings(embedding: nn.Module, ids: Tensor) -> Tensor:
    """Ids `[N, F, W]` of `finding_ids` to visual tokens `[N, F, D]`.

    The words are added; those of a name are divided by the root of their number, so that a name of two words
    is as loud as one of one word.
    """
    known = ids >= 0
    vectors = embedding(ids.clamp(min=0)) * known[..., None]
    count = known[..., SAID:].sum(-1, keepdim=True).clamp(min=1)
    return vectors[..., :SAID, :].sum(-2) + vectors[..., SAID:, :].sum(-2) / count.sqrt()
