"""Findings as visual tokens: the sum of their words, the same for the same words, none for padding."""

from __future__ import annotations

import torch
from torch import nn

from segue.models.mini.findings import MOST_FINDINGS, Finding
from segue.models.mini.spelled_findings import (
    NAME_WEIGHT,
    NOTHING,
    PADDING,
    SAID,
    FindingSpeller,
    embed_findings,
    stack_finding_ids,
)

VOCABULARY: dict[str, int] = {}


def tokenizer(text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
    assert not add_special_tokens
    return {"input_ids": [VOCABULARY.setdefault(word, len(VOCABULARY)) for word in text.split()]}


DOG, GLASS = Finding("dog", 0.9, (0.2, 0.1), 0.05), Finding("wine glass", 0.6, (0.2, 0.9), 0.05, "red")


def test_rows_spell_the_listed_findings() -> None:
    ids = FindingSpeller(tokenizer)([[GLASS, DOG], []])
    assert ids.shape == (2, MOST_FINDINGS, SAID + 2)
    words = {number: word for word, number in VOCABULARY.items()}
    spelled = [[words[i] for i in row.tolist() if i != PADDING] for row in ids[0, :3]]
    assert spelled == [[*DOG.words[1:], "dog"], [*GLASS.words[1:], "wine", "glass"], [NOTHING]]


def test_a_token_is_the_sum_of_its_words() -> None:
    ids = FindingSpeller(tokenizer)([[DOG, GLASS]], places=3)
    embedding = nn.Embedding(64, 8)
    tokens, there = embed_findings(embedding, ids)
    rows = [embedding.weight[[VOCABULARY[w] for w in f.words[1:]]].sum(0) for f in (DOG, GLASS)]
    names = [[VOCABULARY[w] for w in f.name.split()] for f in (DOG, GLASS)]
    expected = [
        row + NAME_WEIGHT * embedding.weight[n].sum(0) / len(n) ** 0.5
        for row, n in zip(rows, names, strict=True)
    ]
    torch.testing.assert_close(tokens[0, :2], torch.stack(expected))
    torch.testing.assert_close(tokens[0, 2], NAME_WEIGHT * embedding.weight[VOCABULARY[NOTHING]])
    assert there.all()
    tokens.sum().backward()
    assert bool(embedding.weight.grad.any())  # type: ignore[union-attr]


def test_stacked_lists_of_different_lengths_say_what_they_said_alone() -> None:
    spell, embedding = FindingSpeller(tokenizer), nn.Embedding(64, 8)
    short, long = spell([[DOG]], places=2), spell([[GLASS], [DOG, GLASS]], places=4)
    tokens, there = embed_findings(embedding, stack_finding_ids([short, long]))
    assert there.sum(1).tolist() == [2, 4, 4]
    torch.testing.assert_close(tokens[0, :2], embed_findings(embedding, short)[0][0])
    torch.testing.assert_close(tokens[1:], embed_findings(embedding, long)[0])


def test_each_word_is_looked_up_once() -> None:
    asked: list[str] = []

    def counting(text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        asked.append(text)
        return tokenizer(text, add_special_tokens)

    FindingSpeller(counting)([[DOG, DOG], [DOG]])
    assert len(asked) == len(set(asked)) == SAID + 1
