"""The trainable table selects exactly what the papers train, and LoRA folds away without a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from segue.errors import InputError
from segue.mini.tokenizer import train_tokenizer
from segue.models.build import build_miras, build_omg_llava, build_prima, build_sa2va, build_segue
from segue.models.mini.build import build_from_tokenizer
from segue.models.mini.modeling_mini import MiniModel
from segue.models.modeling_grounded import GroundedModel
from segue.models.presets import preset
from segue.training.adapters import (
    FAMILIES,
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


TABLES = {"language_model.model.embed_tokens", "language_model.lm_head"}
SEG = {"seg_projection", "sam.mask_decoder"}
FUSED = {"fusion", "reader.query_tokens", "image_projection"}
SAM2_DECODER = (
    *("iou_token", "mask_tokens", "obj_score_token", "transformer", "upscale_"),
    *("output_hypernetworks_mlps", "iou_prediction_head", "pred_obj_score_head"),
)
EXPECTED = {
    "prima": SEG | FUSED | TABLES,
    "prima-tokens": SEG | FUSED,
    "prima-square": SEG | {"reader.relational", "image_projection"} | TABLES,
    "prima-encoders-frozen": SEG | {"fusion", "reader", "image_projection", "language_model"},
    "lisa": SEG | TABLES,
    "glamm": SEG | TABLES,
    "miras": SEG | {"fusion", "region_alignment"} | TABLES,
    "miras-frozen": SEG | {"fusion", "image_projection", "region_alignment"},
    # All of the decoder but the two convolutions that what is kept of an image has gone through.
    "omg_llava": {"image_projection", "seg_projection", "mask_decoder"} | TABLES,
    "segue": {"seg_projection"} | {f"sam.mask_decoder.{part}" for part in SAM2_DECODER},
    "sa2va": {"seg_projection"} | {f"sam.mask_decoder.{part}" for part in SAM2_DECODER},
}
"""Parts that train beside the adapters, by hand from PRIMA section 3.2, MIRAS's paper, and their codes."""
LORA = {"prima": "qk", "prima-tokens": "qk", "prima-square": "qk", "lisa": "qv", "glamm": "qv", "miras": "qv"}
LORA |= {"segue": "qkvo", "sa2va": "qkvo", "omg_llava": "qkvo"}


def model_of(family: str, tiny_tokenizer: Any, tiny_lisa: Callable[..., Any]) -> GroundedModel:
    """A small model of a family, its head not tied to its embeddings, as in the published ones."""
    if family in ("lisa", "glamm"):
        model: GroundedModel = tiny_lisa()[0]
        return model
    if family in ("segue", "sa2va"):
        return {"segue": build_segue, "sa2va": build_sa2va}[family](tiny_tokenizer)[0]
    if family == "omg_llava":
        untied = preset("tiny-omg-llava").config().text_config.to_dict() | {"tie_word_embeddings": False}
        return build_omg_llava(tiny_tokenizer, text_config=untied)[0]
    text = preset("tiny-miras").config().text_config.to_dict() | {"tie_word_embeddings": False}
    if family.startswith("miras"):
        return build_miras(tiny_tokenizer, text_config=text)[0]
    square = {"visual_module": "square"} if family == "prima-square" else {}
    return build_prima(tiny_tokenizer, text_config=text, **square)[0]


@pytest.mark.parametrize("family", EXPECTED)
def test_exactly_the_table_trains(family: str, tiny_tokenizer: Any, tiny_lisa: Callable[..., Any]) -> None:
    model = model_of(family, tiny_tokenizer, tiny_lisa)
    row = FAMILIES[family]
    ids = special_token_ids(tiny_tokenizer, family) if row.token_rows else ()
    has_any = row.lora or row.token_rows
    adapters = set(add_lora(model, targets=row.lora, token_ids=ids)) if has_any else set()
    names = {name for name, _ in model.named_parameters()}
    by_hand = {name for name in names if name.startswith(tuple(EXPECTED[family]))} | adapters
    assert set(prepare_for_training(model, family)) == by_hand
    assert {n for n, p in model.named_parameters() if p.requires_grad} == by_hand
    for prefix in EXPECTED[family] - ({"language_model.lm_head"} if family in ("lisa", "glamm") else set()):
        assert any(name.startswith(prefix) for name in by_hand), f"{prefix} is no part of it"
    adapted = {name.split("self_attn.")[1][0] for name in adapters if ".self_attn." in name}
    assert adapted == set(LORA.get(family, ""))
    assert any("trainable_tokens" in name for name in adapters) == bool(row.token_rows)


def test_every_family_of_the_papers_is_in_that_test() -> None:
    assert FAMILIES.keys() - {"prima_embedded"} == set(EXPECTED)


def test_square_freezes_the_global_queries() -> None:
    model = tiny("square")
    add_lora(model)
    prepare_for_training(model, "prima-square")
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


def test_rows_of_new_tokens_on_a_tied_table(tiny_tokenizer: Any) -> None:
    # Qwen3-VL-2B and 4B write with the table that they read with: one set of rows, both places.
    model, processor = build_segue(tiny_tokenizer)
    plain, _ = build_segue(tiny_tokenizer)
    ids = special_token_ids(processor.tokenizer, "segue")
    assert len(ids) == 3
    add_lora(model, targets=FAMILIES["segue"].lora, token_ids=ids)
    prepare_for_training(model, "segue")
    rows = [p for name, p in model.named_parameters() if "trainable_tokens" in name]
    assert [tuple(p.shape) for p in rows] == [(3, 16)]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    state = merged_state(model, model.state_dict())
    model.eval()
    fitted = plain.load_state_dict(state)
    assert not fitted.missing_keys
    text = torch.tensor([[20, ids[0], 31, ids[2], 42]])
    with torch.no_grad():
        torch.testing.assert_close(model(text, [0]).logits, plain(text, [0]).logits, rtol=0, atol=1e-5)
    untouched = build_segue(tiny_tokenizer)[0].get_input_embeddings().weight
    changed = (plain.get_input_embeddings().weight != untouched).any(1).nonzero()[:, 0].tolist()
    assert changed == ids
