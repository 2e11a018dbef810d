"""Every loss against values computed by hand, and sizes brought back and forth against direct computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from segue.models.losses import (
    IGNORE_INDEX,
    bce_loss,
    dice_loss,
    focal_loss,
    resize_logits,
    shrink_masks,
    text_loss,
)

LN2 = math.log(2)
SURE = 200.0
"""A logit whose sigmoid is 1 (or, negated, 0) in float32."""


def two_steps() -> Tensor:
    """Position 0 says (1/4, 3/4), position 1 (1/2, 1/2); the last position predicts nothing."""
    return torch.tensor([[[0.0, math.log(3)], [0.0, 0.0], [9.0, -9.0]]])


def test_text_loss_is_the_mean_over_labelled_tokens() -> None:
    found = text_loss(two_steps(), torch.tensor([[0, 1, 0]]))
    assert found.item() == pytest.approx((math.log(4 / 3) + LN2) / 2)


def test_text_loss_leaves_ignored_tokens_out() -> None:
    found = text_loss(two_steps(), torch.tensor([[0, 1, IGNORE_INDEX]]))
    assert found.item() == pytest.approx(math.log(4 / 3))


def test_the_first_label_has_no_prediction() -> None:
    with_first, without = torch.tensor([[1, 1, 0]]), torch.tensor([[IGNORE_INDEX, 1, 0]])
    assert text_loss(two_steps(), with_first) == text_loss(two_steps(), without)


def test_text_loss_weighs_targets() -> None:
    found = text_loss(two_steps(), torch.tensor([[0, 1, 0]]), torch.tensor([3.0, 1.0]))
    assert found.item() == pytest.approx((math.log(4 / 3) + 3 * LN2) / 4)


def test_text_loss_counts_tokens_not_conversations() -> None:
    logits = two_steps().repeat(2, 1, 1)
    labels = torch.tensor([[0, 1, 0], [0, 1, IGNORE_INDEX]])
    assert text_loss(logits, labels).item() == pytest.approx((2 * math.log(4 / 3) + LN2) / 3)


def test_text_loss_of_nothing_is_a_zero_that_can_be_differentiated() -> None:
    logits = two_steps().requires_grad_()
    loss = text_loss(logits, torch.full((1, 3), IGNORE_INDEX))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_dice_by_hand() -> None:
    logits = torch.tensor([[[SURE, SURE], [-SURE, -SURE]], [[0.0, 0.0], [0.0, 0.0]]])
    masks = torch.tensor([[[1, 0], [1, 1]], [[1, 1], [0, 0]]])
    # |P| = 2, |G| = 3, |PG| = 1; then |P| = 4 / 2, |G| = 2, |PG| = 1.
    expected = [1 - (2 / 1000 + 1e-6) / (5 / 1000 + 1e-6), 1 - (2 / 1000 + 1e-6) / (4 / 1000 + 1e-6)]
    torch.testing.assert_close(dice_loss(logits, masks), torch.tensor(expected))
    plain = dice_loss(logits, masks, scale=1.0, eps=1.0)
    torch.testing.assert_close(plain, torch.tensor([1 - 3 / 6, 1 - 3 / 5]))


def test_dice_of_empty_masks() -> None:
    empty = torch.zeros(1, 4, 4)
    assert dice_loss(torch.full((1, 4, 4), -SURE), empty).item() == pytest.approx(0, abs=1e-6)
    drawn = dice_loss(torch.full((1, 4, 4), SURE), empty).item()
    assert drawn == pytest.approx(1 - 1e-6 / (16 / 1000 + 1e-6))


def test_bce_by_hand() -> None:
    logits = torch.tensor([[[0.0, math.log(3)]], [[0.0, 0.0]]])
    masks = torch.tensor([[[1.0, 0.0]], [[0.5, 0.0]]])
    torch.testing.assert_close(bce_loss(logits, masks), torch.tensor([(LN2 + math.log(4)) / 2, LN2]))


def test_focal_by_hand() -> None:
    logits = torch.tensor([[[0.0]], [[0.0]], [[math.log(3)]]])
    masks = torch.tensor([[[1.0]], [[0.0]], [[0.0]]])
    # p of the right class: 1/2, 1/2, 1/4.
    expected = [0.25 * 0.25 * LN2, 0.75 * 0.25 * LN2, 0.75 * 0.75**2 * math.log(4)]
    torch.testing.assert_close(focal_loss(logits, masks), torch.tensor(expected))


def test_focal_without_focus_or_weights_is_bce() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(5, 6, 7, generator=generator) * 3
    masks = (torch.rand(5, 6, 7, generator=generator) > 0.6).float()
    torch.testing.assert_close(focal_loss(logits, masks, alpha=-1, gamma=0), bce_loss(logits, masks))
    torch.testing.assert_close(focal_loss(logits, masks, alpha=0.5, gamma=0), bce_loss(logits, masks) / 2)
    assert (focal_loss(logits, masks, alpha=-1, gamma=2) < bce_loss(logits, masks)).all()


@pytest.mark.parametrize("loss", [dice_loss, bce_loss, focal_loss])
def test_mask_losses_are_one_value_per_mask(loss: object) -> None:
    assert callable(loss)
    generator = torch.Generator().manual_seed(4)
    logits, masks = (
        torch.randn(3, 5, 4, generator=generator),
        torch.rand(3, 5, 4, generator=generator).round(),
    )
    together = loss(logits, masks)
    assert together.shape == (3,)
    for k in range(3):
        torch.testing.assert_close(together[k : k + 1], loss(logits[k : k + 1], masks[k : k + 1]))
    assert loss(torch.zeros(0, 5, 4), torch.zeros(0, 5, 4)).shape == (0,)


def bilinear(length: int, target: int) -> np.ndarray:
    """Weights `[target, length]` of bilinear interpolation between cell centres, edges repeated."""
    weights = np.zeros((target, length))
    for i in range(target):
        place = np.clip((i + 0.5) * length / target - 0.5, 0, length - 1)
        low = int(place)
        high = min(low + 1, length - 1)
        weights[i, low] += 1 - (place - low)
        weights[i, high] += place - low
    return weights


def enlarge(array: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    return bilinear(array.shape[0], hw[0]) @ array @ bilinear(array.shape[1], hw[1]).T


@pytest.mark.parametrize(
    ("inside", "original"), [((16, 16), (23, 31)), ((10, 16), (20, 32)), ((16, 5), (48, 15))]
)
def test_resize_logits_against_direct_interpolation(
    inside: tuple[int, int], original: tuple[int, int]
) -> None:
    logits = np.random.default_rng(5).normal(size=(2, 8, 8)).astype(np.float32)
    found = resize_logits(torch.from_numpy(logits), inside, original, 16)
    assert found.shape == (2, *original)
    expected = [enlarge(enlarge(k, (16, 16))[: inside[0], : inside[1]], original) for k in logits]
    np.testing.assert_allclose(found.numpy(), np.stack(expected), atol=1e-5)


def test_resize_logits_leaves_the_padding_out() -> None:
    logits = torch.full((1, 8, 8), 5.0)
    changed = logits.clone()
    changed[:, 6:] = -50  # rows 12.. of 16; the photograph ends at row 10, half a cell before
    first, second = (resize_logits(x, (10, 16), (20, 32), 16) for x in (logits, changed))
    torch.testing.assert_close(first, torch.full((1, 20, 32), 5.0))
    torch.testing.assert_close(first, second)


def test_resize_logits_of_nothing_and_of_half_precision() -> None:
    assert resize_logits(torch.zeros(0, 8, 8), (16, 16), (9, 7), 16).shape == (0, 9, 7)
    assert (
        resize_logits(torch.zeros(1, 8, 8, dtype=torch.bfloat16), (16, 16), (9, 7), 16).dtype == torch.float32
    )


def test_shrink_masks_is_the_mean_over_blocks_and_zero_in_the_padding() -> None:
    masks = np.random.default_rng(6).random((2, 6, 8)) > 0.5
    small = shrink_masks(torch.from_numpy(masks), (12, 16), 4, 16)  # 3 x 4 of the 4 x 4 grid are photograph
    assert small.shape == (2, 4, 4)
    blocks = masks.reshape(2, 3, 2, 4, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(small[:, :3].numpy(), blocks, atol=1e-6)
    assert not small[:, 3].any()


@pytest.mark.parametrize("hw", [(1, 300), (300, 1), (64, 64), (17, 5)])
def test_shrink_masks_keeps_at_least_one_cell(hw: tuple[int, int]) -> None:
    scale = 16 / max(hw)
    inside = (max(1, round(hw[0] * scale)), max(1, round(hw[1] * scale)))
    small = shrink_masks(torch.ones((1, *hw), dtype=torch.bool), inside, 8, 16)
    assert small.shape == (1, 8, 8)
    cells = max(1, round(inside[0] / 2)) * max(1, round(inside[1] / 2))
    assert small.sum().item() == pytest.approx(cells)


def test_shrink_masks_of_nothing() -> None:
    small = shrink_masks(torch.zeros((0, 9, 9), dtype=torch.bool), (16, 16), 8, 16)
    assert small.shape == (0, 8, 8)
    assert small.dtype == torch.float32


def test_shrinking_and_resizing_are_inverse_up_to_the_grid() -> None:
    mask = torch.zeros((1, 60, 40), dtype=torch.bool)
    mask[:, 12:44, 8:30] = True
    inside = (64, 43)
    coverage = shrink_masks(mask, inside, 32, 64)
    again = resize_logits(coverage - 0.5, inside, (60, 40), 64) > 0
    iou = (again & mask).sum() / (again | mask).sum()
    assert iou > 0.9


def test_a_centred_picture_is_cut_out_of_the_middle() -> None:
    # 8 x 16 of a 16 x 16 square: rows 4 to 12 hold the picture, the rest is padding.
    logits = torch.full((1, 16, 16), -9.0)
    logits[:, 4:12] = 9.0
    found = resize_logits(logits, (8, 16), (8, 16), 16, centred=True)
    assert bool((found == 9).all())
    assert not bool((resize_logits(logits, (8, 16), (8, 16), 16) > 0).all())
    small = shrink_masks(torch.ones(1, 8, 16), (8, 16), 16, 16, centred=True)
    assert small[0].sum(1).tolist() == [0.0] * 4 + [16.0] * 8 + [0.0] * 4


@pytest.mark.parametrize("inside", [(16, 9), (7, 16), (16, 16)])
@pytest.mark.parametrize("centred", [False, True])
def test_there_and_back_again(inside: tuple[int, int], centred: bool) -> None:
    mask = torch.zeros(1, *inside, dtype=torch.bool)
    mask[:, 2:6, 3:8] = True
    grid = shrink_masks(mask, inside, 16, 16, centred=centred)
    assert torch.equal(resize_logits(grid - 0.5, inside, inside, 16, centred=centred) > 0, mask)
