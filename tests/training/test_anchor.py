"""The anchor remembers the encoders as they were, and measures how far they have gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from segue.training.anchor import Anchor, relative_error

Tiny = Callable[..., Any]


def given(model: Any) -> tuple[torch.Tensor, ...]:
    size = model.config.vision_config.image_size
    aux = model.config.aux_vision_config.image_size
    torch.manual_seed(1)
    ids = torch.tensor([[20, 21, 22], [23, 24, 25]])
    return torch.randn(2, 3, size, size), torch.randn(2, 3, aux, aux), ids, torch.ones_like(ids)


def test_later_changes_of_the_model_do_not_reach_the_anchor(tiny: Tiny) -> None:
    model, _ = tiny()
    anchor, inputs = Anchor(model), given(model)
    before = anchor.outputs(*inputs)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    for old, again in zip(before, anchor.outputs(*inputs), strict=True):
        assert torch.equal(old, again)
        assert not again.requires_grad
    clip, dino = model.encode_towers(*inputs[:2])
    assert float(relative_error(clip, before[0]).detach()) > 0.01
    assert float(relative_error(dino, before[1]).detach()) > 0.01


def test_an_unchanged_model_is_where_its_anchor_is(tiny: Tiny) -> None:
    model, _ = tiny()
    inputs = given(model)
    clip, dino, queries = Anchor(model).outputs(*inputs)
    visual = model.encode_images([1, 1], *inputs[2:], vision_features=clip, aux_features=dino)
    assert float(relative_error(visual.queries, queries).detach()) == pytest.approx(0, abs=1e-9)
    assert all(p.requires_grad for p in model.parameters()), "the copy alone is frozen"


def test_relative_error_by_hand() -> None:
    kept = torch.tensor([[[0.0], [2.0]]])
    assert float(relative_error(kept + 1, kept)) == pytest.approx(2 / 2)
