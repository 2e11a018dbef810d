"""Findings as visual tokens: one token a finding, the sum of the language model's embeddings of its words.

The model then reads an image as it reads words, and can be taught from lists that no picture was made for.

Legend: N images, F findings an image, W words a finding, D width of the language model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

NAME_WEIGHT = 2.0
"""How much louder a name is than each word that is said of it: names are what findings are looked up by."""


class FindingSpeller:
    """Findings to the ids of their words; each word is looked up once.

    Args:
        tokenizer: the language model's; None where all words are known.
        known: ids of words; W is then that of the longest of them, so that images of one model fit together.

    Source: paper silent; ours.
    """

    def __init__(self, tokenizer: Any = None, known: Mapping[str, list[int]] | None = None) -> None:
        self.tokenizer = tokenizer
        self._ids = dict(known or {})
        self.least = SAID + max(map(len, self._ids.values()), default=0)

    def __call__(self, images: Sequence[Sequence[Finding]], places: int = MOST_FINDINGS) -> Tensor:
        """Findings of N images to the ids of their words.

        Args:
            images: in any order, they are `listed` here; at most `places` an image.
            places: F; those that no finding takes say `NOTHING`.

        Returns:
            `[N, F, W]`, rows filled with `PADDING`.
        """
        empty = [PADDING] * SAID + self.word(NOTHING)
        rows = []
        for findings in images:
            row = [self.finding(finding) for finding in listed(findings)]
            rows.append(row + [empty] * (places - len(row)))
        longest = max(self.least, *(len(ids) for row in rows for ids in row))
        return torch.tensor([[ids + [PADDING] * (longest - len(ids)) for ids in row] for row in rows])

    def finding(self, finding: Finding) -> list[int]:
        """`SAID` ids of what is said of it and those of its name."""
        name, *said = finding.words
        ids = [i for word in said for i in self.word(word)]
        return ids + [PADDING] * (SAID - len(ids)) + self.word(name)

    def rows(self, findings: Sequence[Finding], width: int) -> Tensor:
        """Findings as numbers of regions, `[R, width]` floats; longer names are cut."""
        filled = [(self.finding(finding) + [PADDING] * width)[:width] for finding in findings]
        return torch.tensor(filled, dtype=torch.float32).reshape(-1, width)

    def word(self, word: str) -> list[int]:
        """Ids of a word, or of a name of several, within a sentence."""
        if word not in self._ids:
            self._ids[word] = list(self.tokenizer(f" {word}", add_special_tokens=False)["input_ids"])
        return self._ids[word]


def stack_finding_ids(images: Sequence[Tensor]) -> Tensor:
    """Ids of several conversations, each `[n, F_i, W_i]`, as `[N, F, W]`; a row of `PADDING` is no token."""
    places, words = (max(ids.shape[axis] for ids in images) for axis in (1, 2))
    return torch.cat(
        [F.pad(ids, (0, words - ids.shape[2], 0, places - ids.shape[1]), value=PADDING) for ids in images]
    )


def embed_findings(embedding: nn.Embedding, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Ids `[N, F, W]` of a `FindingSpeller` to visual tokens `[N, F, D]`, and which there are, `[N, F]`.

    The words are added; those of a name, `NAME_WEIGHT` times as loud, are divided by the root of their
    number, so that a name of two words is as loud as one of one word.
    """
    known = (ids >= 0).to(embedding.weight.dtype)
    count = known[..., SAID:].sum(-1, keepdim=True).clamp(min=1)
    name = NAME_WEIGHT * known[..., SAID:] / count.sqrt()
    weights = torch.cat([known[..., :SAID], name], dim=-1)
    flat = F.embedding_bag(
        ids.clamp(min=0).flatten(0, 1), embedding.weight, per_sample_weights=weights.flatten(0, 1), mode="sum"
    )
    return flat.unflatten(0, ids.shape[:2]), known.bool().any(-1)
