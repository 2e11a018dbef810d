"""The loss of a batch is that of its conversations: order, padding and company change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from segue.models.losses import IGNORE_INDEX, target_weight

Shaken = Callable[..., Any]
NAMES = ("three", "one", "silent")


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_alike(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Sums of float32 in another order: relative to the largest element of each gradient."""
    for name, gradient in expected.items():
        scale = float(gradient.abs().max())
        other = found.get(name, torch.zeros_like(gradient))
        assert float((other - gradient).abs().max()) <= 1e-4 * scale + 1e-7, name


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0)])
def test_the_order_of_conversations(
    fresh: Shaken, batch_of: Any, talks: dict[str, Any], order: tuple[int, ...]
) -> None:
    model, processor = fresh()
    loss = model(**batch_of(processor, *(talks[n] for n in NAMES))).loss
    other = model(**batch_of(processor, *(talks[NAMES[i]] for i in order))).loss
    torch.testing.assert_close(other, loss, rtol=1e-6, atol=0)
    assert_alike(gradients(model, other), gradients(model, loss))


def test_more_padding(fresh: Shaken, batch_of: Any, talks: dict[str, Any]) -> None:
    model, processor = fresh()
    batch = batch_of(processor, talks["three"], talks["one"])
    loss = model(**batch).loss
    fill = {"input_ids": processor.tokenizer.pad_token_id, "labels": IGNORE_INDEX, "attention_mask": 0}
    padded = {n: torch.nn.functional.pad(batch[n], (0, 7), value=value) for n, value in fill.items()}
    other = model(**(batch | padded)).loss
    torch.testing.assert_close(other, loss, rtol=1e-6, atol=0)
    assert_alike(gradients(model, other), gradients(model, loss))


def test_the_company_of_other_conversations(fresh: Shaken, batch_of: Any, talks: dict[str, Any]) -> None:
    model, processor = fresh(text_loss_weight=1.0, dice_loss_weight=0.5, pixel_loss_weight=2.0)
    whole = model(**batch_of(processor, *(talks[n] for n in NAMES)))
    alone = [batch_of(processor, talks[name]) for name in NAMES]
    tokens = [target_weight(batch["labels"]) for batch in alone]
    masks = [sum(len(stack) for stack in batch["mask_labels"]) for batch in alone]
    assert masks == [4, 1, 0]
    # By hand: every token and every mask has the same weight, whatever conversation it is in.
    outputs = [model(**batch) for batch in alone]
    expected = {
        "text": sum(n * float(o.loss_terms["text"]) for n, o in zip(tokens, outputs, strict=True))
        / sum(tokens),
        "dice": sum(n * float(o.loss_terms["dice"]) for n, o in zip(masks, outputs, strict=True)) / 5,
        "pixel": sum(n * float(o.loss_terms["pixel"]) for n, o in zip(masks, outputs, strict=True)) / 5,
    }
    for name, value in expected.items():
        assert float(whole.loss_terms[name]) == pytest.approx(value, rel=2e-6), name
    total = expected["text"] + 0.5 * expected["dice"] + 2 * expected["pixel"]
    assert float(whole.loss.detach()) == pytest.approx(total, rel=2e-6)
    # The same through the totals of a step, as processes and accumulated rounds compute it.
    totals = {"text": sum(tokens), "masks": 5.0}
    summed = torch.stack([model(**batch, loss_totals=totals).loss for batch in alone]).sum()
    torch.testing.assert_close(summed, whole.loss, rtol=2e-6, atol=0)
    assert_alike(gradients(model, summed), gradients(model, whole.loss))
