"""Masks compared at points: values by hand, where the points lie, and the term of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from segue.errors import ModelError
from segue.models.build import build_sa2va
from segue.models.losses import shrink_masks
from segue.models.mask_objective import MaskLabels, mask_terms
from segue.models.point_loss import at_points, point_losses, uncertain_points
from segue.models.presets_qwen import tiny_sa2va_config


def test_values_by_hand() -> None:
    logits = torch.tensor([[[0.0, 0.0], [20.0, -20.0]]])
    masks = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    # The middles of the four cells, as (x, y).
    points = torch.tensor([[[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]])
    assert at_points(masks, points).tolist() == [[1.0, 0.0, 1.0, 0.0]]
    dice, pixel = point_losses(logits, masks, points)
    # Probabilities 0.5, 0.5, 1, 0: 1 - (2 * 1.5 + 1) / (2 + 2 + 1); cross-entropy ln 2 at two of four points.
    assert dice.tolist() == pytest.approx([1 - 4 / 5], abs=1e-6)
    assert pixel.tolist() == pytest.approx([0.6931472 / 2], abs=1e-6)


def test_most_points_lie_where_the_model_is_not_sure() -> None:
    torch.manual_seed(0)
    logits = torch.full((2, 8, 8), 9.0)
    logits[:, :, :4] = 0.0
    points = uncertain_points(logits, 400)
    assert points.shape == (2, 400, 2)
    assert bool(((points >= 0) & (points <= 1)).all())
    # Three quarters of them, and half of the rest, which lie anywhere.
    share = float((points[..., 0] < 0.5).float().mean())
    assert 0.8 < share < 0.95


def test_the_term_of_a_batch_is_the_mean_over_its_masks(
    tiny_tokenizer: Any, talks: dict[str, Any], batch_of: Callable[..., dict[str, Any]]
) -> None:
    points = {"mask_loss_resolution": "points", "mask_loss_points": 64}
    model, processor = build_sa2va(tiny_tokenizer, **points)
    batch = batch_of(processor, talks["three"], talks["one"])
    index = batch["seg_image_index"]
    logits = torch.randn(len(index), 16, 16, generator=torch.Generator().manual_seed(1), requires_grad=True)
    labels = MaskLabels(batch["mask_labels"], index, batch["original_hw"], batch["resized_hw"])
    torch.manual_seed(5)
    found = mask_terms(model.config, model.segmenter, logits, labels, logits.sum() * 0)
    torch.manual_seed(5)
    dice, pixel = [], []
    for image, masks in enumerate(batch["mask_labels"]):
        if len(masks):
            chosen = logits[index == image]
            # Pictures are squashed: the mask covers the whole square. Nearest: still 0 and 1.
            targets = shrink_masks(masks, (64, 64), 16, 64, mode="nearest")
            assert set(targets.unique().tolist()) <= {0.0, 1.0}
            losses = point_losses(chosen, targets, uncertain_points(chosen, model.config.mask_loss_points))
            dice.append(losses[0])
            pixel.append(losses[1])
    torch.testing.assert_close(found["dice"], torch.cat(dice).mean())
    torch.testing.assert_close(found["pixel"], torch.cat(pixel).mean())
    (found["dice"] + found["pixel"]).backward()
    assert logits.grad is not None
    assert bool(logits.grad.flatten(1).any(1).all())


def test_another_resolution_is_refused() -> None:
    with pytest.raises(ModelError, match="'points'"):
        tiny_sa2va_config(mask_loss_resolution="dots")
