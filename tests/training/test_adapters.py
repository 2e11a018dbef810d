"""The trainable table selects exactly what the papers train, and LoRA folds away without a trace."""

from __future__ import annotations

import pytest
import torch

from segue.errors import InputError
from segue.mini.tokenizer import train_tokenizer
from segue.models.mini.build import build_from_tokenizer
from segue.models.mini.modeling_mini import MiniModel
from segue.models.presets import preset
from segue.training.adapters import (
    add_lora,
    has_adapters,
    merge_lora,
    merged_state,
    prepare_for_training,
    special_token_ids,
    trained_parts,
)


def tiny(visual_module: str = "fusion") -> MiniModel:
    tokenizer = train_tokenizer(["In image 1, the red mug is left of the blue chair."] * 20, 400)
    return build_from_tokenizer("tiny", tokenizer, visual_module=visual_module)[0]


def test_prima_trains_exactly_its_table() -> None:
    model = tiny()
    lora = add_lora(model)
    trains = set(prepare_for_training(model, "prima"))
    layers = model.config.text_config.num_hidden_layers
    assert len(lora) == layers * 2 * 2  # q and k, A and B
    assert set(lora) <= trains
    frozen = {n for n, _ in model.named_parameters()} - trains
    assert any(n.startswith("sam.mask_decoder") for n in trains)
    assert not any(
        n.startswith(("sam.vision_encoder", "sam.prompt_encoder", "vision_model", "aux_vision_model"))
        for n in trains
    )
    assert "reader.query_tokens" in trains
    assert all(n in frozen for n, _ in model.named_parameters() if n.startswith("reader.qformer"))
    assert all("lora_" in n for n in trains if n.startswith("language_model.model.layers"))


def test_square_freezes_the_global_queries() -> None:
    model = tiny("square")
    add_lora(model)
    trains = prepare_for_training(model, "prima-square")
    assert "reader.query_tokens" not in trains
    assert not any(n.startswith("fusion") for n in trains)
    assert any(n.startswith("reader.relational") for n in trains)
    assert set(trained_parts(model)) == {
        "reader",
        "image_projection",
        "seg_projection",
        "sam",
        "language_model",
    }


def test_merged_lora_computes_the_same() -> None:
    model = tiny()
    names = add_lora(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in names:
                parameter.normal_(0, 0.3)
    model.eval()
    ids = torch.arange(20, 30)[None]
    before = model.language_model(input_ids=ids).logits
    assert merge_lora(model) == 2 * model.config.text_config.num_hidden_layers
    after = model.language_model(input_ids=ids).logits
    assert not any("lora_" in n for n, _ in model.named_parameters())
    torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-5)


def test_unknown_family_is_named() -> None:
    with pytest.raises(InputError, match="llava"):
        prepare_for_training(tiny(), "llava")


def test_folded_weights_compute_the_same_without_adapters() -> None:
    tokenizer = train_tokenizer(["In image 1, the red mug is left of the blue chair."] * 20, 400)
    text = preset("tiny").config().text_config.to_dict() | {"tie_word_embeddings": False}
    model, plain = (
        build_from_tokenizer("tiny", tokenizer, seed=seed, text_config=dict(text))[0] for seed in (1, 2)
    )
    ids = special_token_ids(tokenizer)
    assert ids == [tokenizer.convert_tokens_to_ids(t) for t in ("[SEG]", "<p>", "</p>")]
    names = add_lora(model, token_ids=ids)
    assert sum("trainable_tokens" in name for name in names) == 2
    assert set(names) <= set(prepare_for_training(model, "prima-tokens"))
    assert not any(p.requires_grad for n, p in model.named_parameters() if n.endswith("base_layer.weight"))
    with torch.no_grad():
        for name in names:
            model.get_parameter(name).normal_(0, 0.3)
    merged = merged_state(model, model.state_dict())
    assert set(merged) == set(plain.state_dict())
    plain.load_state_dict(merged)
    assert not has_adapters(plain)
    words = torch.tensor([[*ids, 20, 21, 22]])
    with torch.no_grad():
        expected, found = (m.eval().language_model(input_ids=words).logits for m in (model, plain))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    untouched = merged_state(plain, plain.state_dict())
    assert all(torch.equal(untouched[n], merged[n]) for n in merged)
