"""Weights carried over to another vocabulary: known words keep their rows, whatever their places."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from segue.errors import InputError
from segue.mini.talk.build import build_talking
from segue.mini.talk.carry import load_talking
from segue.mini.talk.vocabulary import word_tokenizer
from segue.training.recipe import InitRecipe

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
PARTS = ["language_model", "seg_projection"]


def test_words_keep_their_embeddings(tmp_path: Path) -> None:
    old = word_tokenizer([" where is the dog"] * 3, [])
    new = word_tokenizer([" a cat and the dog"] * 3, ["where"])
    model, processor = build_talking(old, seed=1, **SMALL)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    other, _ = build_talking(new, seed=2, **SMALL)
    untaught = load_talking(other, new, InitRecipe(folder=str(tmp_path), parts=PARTS))
    assert untaught == len(new.get_vocab().keys() - old.get_vocab().keys()) > 0
    before, after = (m.get_input_embeddings().weight for m in (model, other))
    for word in ("Ġdog", "Ġwhere", "[SEG]"):
        assert torch.equal(after[new.get_vocab()[word]], before[old.get_vocab()[word]])
    loud = before.norm(dim=1).mean()
    assert float(after[new.get_vocab()["Ġcat"]].norm().detach()) == pytest.approx(
        float(loud.detach()), rel=0.5
    )
    for (name, a), (_, b) in zip(model.named_parameters(), other.named_parameters(), strict=True):
        if name.startswith(("language_model.model.layers", "seg_projection")):
            assert torch.equal(a, b), name


def test_the_same_words_are_loaded_as_they_are(tmp_path: Path) -> None:
    tokenizer = word_tokenizer([" where is the dog"] * 3, [])
    model, processor = build_talking(tokenizer, seed=1, **SMALL)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    other, _ = build_talking(tokenizer, seed=2, **SMALL)
    assert load_talking(other, tokenizer, InitRecipe(folder=str(tmp_path), parts=PARTS)) == 0
    assert torch.equal(other.get_input_embeddings().weight, model.get_input_embeddings().weight)


def test_another_size_is_refused(tmp_path: Path) -> None:
    tokenizer = word_tokenizer([" where is the dog"] * 3, [])
    model, processor = build_talking(tokenizer, **SMALL)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    larger, _ = build_talking(tokenizer, **SMALL | {"intermediate_size": 96})
    with pytest.raises(InputError, match="weights do not fit"):
        load_talking(larger, tokenizer, InitRecipe(folder=str(tmp_path), parts=PARTS))
