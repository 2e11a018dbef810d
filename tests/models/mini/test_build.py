"""A fresh model and its processor agree, and the seed decides the weights."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from segue.models.mini.build import build_from_tokenizer


def test_the_seed_decides_the_weights(tiny_bundle: SimpleNamespace) -> None:
    torch.manual_seed(99)
    torch.rand(3)
    same, _ = build_from_tokenizer("tiny", tiny_bundle.tokenizer)
    other, _ = build_from_tokenizer("tiny", tiny_bundle.tokenizer, seed=1)
    first, second, third = (m.state_dict() for m in (tiny_bundle.model, same, other))
    assert all(torch.equal(first[n], second[n]) for n in first)
    assert not torch.equal(first["image_projection.weight"], third["image_projection.weight"])


def test_model_and_processor_agree(tiny_bundle: SimpleNamespace) -> None:
    model, processor, tokenizer = tiny_bundle.model, tiny_bundle.processor, tiny_bundle.tokenizer
    config = model.config
    assert not model.training
    assert config.text_config.vocab_size == config.qformer_config.vocab_size == len(tokenizer)
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)
    assert tokenizer.convert_tokens_to_ids("[SEG]") == config.seg_token_id
    assert tokenizer.convert_tokens_to_ids("<image>") == config.image_token_id
    assert (processor.num_query_tokens, processor.keep_text_outputs) == (5, False)
    assert (
        processor.max_instruction_tokens + config.num_query_tokens
        <= config.qformer_config.max_position_embeddings
    )


def test_overrides_reach_both(tiny_tokenizer: Any) -> None:
    model, processor = build_from_tokenizer(
        "tiny", tiny_tokenizer, keep_text_outputs=True, num_query_tokens=7
    )
    assert model.reader.query_tokens.shape[1] == processor.num_query_tokens == 7
    assert model.reader.keep_text_outputs
    assert processor.keep_text_outputs


def test_prompts_and_positions_share_their_frequencies(tiny_bundle: SimpleNamespace) -> None:
    sam = tiny_bundle.model.sam
    shared = sam.shared_image_embedding.positional_embedding
    assert torch.equal(shared, sam.prompt_encoder.shared_embedding.positional_embedding)
    assert 0.4 < shared.std() < 2, "SAM's own start is a standard normal"


def test_slots_know_the_words_of_their_names(tiny_tokenizer: Any) -> None:
    names = {"slot_classes": ("mug", "teapot"), "slot_attributes": ("red",)}
    spelled = build_from_tokenizer("tiny", tiny_tokenizer, **names)[0].config.slot_word_ids
    texts = [tiny_tokenizer.decode(ids).strip() for ids in spelled]
    assert texts == ["mug", "teapot", "red"]
    silent = build_from_tokenizer("tiny", tiny_tokenizer, **names, slot_word_ids=())[0]
    assert not silent.config.slot_word_ids
