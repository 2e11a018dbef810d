"""A fresh model and its processor agree, and the seed decides the weights."""

from __future__ import annotations

from typing import Any

import torch

from segue.models.build import build_prima


def test_the_seed_decides_the_weights(tiny_tokenizer: Any) -> None:
    model, _ = build_prima(tiny_tokenizer)
    torch.manual_seed(99)
    torch.rand(3)
    first, second, third = (
        m.state_dict()
        for m in (model, build_prima(tiny_tokenizer)[0], build_prima(tiny_tokenizer, seed=1)[0])
    )
    assert all(torch.equal(first[n], second[n]) for n in first)
    assert not torch.equal(first["image_projection.weight"], third["image_projection.weight"])


def test_model_and_processor_agree(tiny_tokenizer: Any) -> None:
    model, processor = build_prima(tiny_tokenizer, num_query_tokens=7)
    config = model.config
    assert config.model_type == "prima"
    assert not model.training
    assert config.text_config.vocab_size == config.qformer_config.vocab_size == len(tiny_tokenizer)
    assert model.get_input_embeddings().num_embeddings == len(tiny_tokenizer)
    assert model.reader.query_tokens.shape[1] == processor.num_query_tokens == 7
    assert model.reader.keep_text_outputs
    assert processor.keep_text_outputs
