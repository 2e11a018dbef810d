"""A few steps on one conversation: words and masks are learned, in families that were not trained here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from segue.models.build import build_miras, build_omg_llava, build_prima, build_sa2va, build_segue
from segue.training.adapters import FAMILIES, add_lora, prepare_for_training, special_token_ids


def twenty_steps(model: Any, batch: dict[str, Any], rate: float = 2e-2) -> list[dict[str, float]]:
    """Terms of the loss, step by step."""
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=rate)
    terms: list[dict[str, float]] = []
    for _ in range(20):
        output = model(**batch)
        terms.append({name: float(term) for name, term in output.loss_terms.items()})
        optimiser.zero_grad()
        output.loss.backward()
        optimiser.step()
    return terms


@pytest.mark.parametrize(
    ("talk", "falls"),
    # Four masks in noise take more steps than one: of those the pixels' term falls first.
    [("one", {"text": 0.25, "dice": 0.25, "pixel": 0.25}), ("three", {"text": 0.4, "pixel": 0.4})],
)
@pytest.mark.parametrize("build", [build_prima, build_miras, build_segue, build_sa2va, build_omg_llava])
def test_twenty_steps_learn_one_conversation(
    build: Callable[..., tuple[Any, Any]],
    tiny_tokenizer: Any,
    talks: dict[str, Any],
    batch_of: Callable[..., dict[str, Any]],
    talk: str,
    falls: dict[str, float],
) -> None:
    model, processor = build(tiny_tokenizer)
    terms = twenty_steps(model, batch_of(processor, talks[talk]))
    for name, share in falls.items():
        # Every round of a mask is compared, the first of them drawn before any layer has looked.
        if build is build_omg_llava and talk == "three" and name == "pixel":
            share = 0.55
        assert terms[-1][name] < share * terms[0][name], name


def test_adapters_rows_projection_and_decoder_alone_learn_too(
    tiny_tokenizer: Any, talks: dict[str, Any], batch_of: Callable[..., dict[str, Any]]
) -> None:
    model, processor = build_segue(tiny_tokenizer)
    ids = special_token_ids(processor.tokenizer, "segue")
    add_lora(model, 16, 32, dropout=0.0, targets=FAMILIES["segue"].lora, token_ids=ids)
    trains = set(prepare_for_training(model, "segue"))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    terms = twenty_steps(model, batch_of(processor, talks["one"]))
    # A frozen random table of width 16 says little, however the layers are adapted; masks are learned.
    assert terms[-1]["text"] < 0.9 * terms[0]["text"]
    assert terms[-1]["pixel"] < 0.5 * terms[0]["pixel"]
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed <= trains
    for part in ("lora_A", "lora_B", "trainable_tokens", "seg_projection", "sam.mask_decoder"):
        assert any(part in name for name in changed), part
