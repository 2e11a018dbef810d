"""Queries from content, heads of slots, and sine positions against direct computation."""

from __future__ import annotations

import torch
from torch import Tensor

from segue.models.mini.presets_mini import tiny_config
from segue.models.mini.slots import ContentQueries, ObjectSlotHeads, sine_positions
from segue.models.visual_tokens import pool_grid


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_content_goes_into_the_first_queries_only() -> None:
    content = ContentQueries(tiny_config()).eval()
    queries, features = noise(2, 5, 16), noise(2, 17, 16, seed=1)
    started = content.start(queries, features)
    assert torch.equal(started[:, 4:], queries[:, 4:])
    expected = queries[:, :4] + content.project(pool_grid(features[:, 1:], 2))
    torch.testing.assert_close(started[:, :4], expected)
    outputs = noise(2, 9, 16, seed=2)
    finished = content.finish(outputs, features)
    assert torch.equal(finished[:, 4:], outputs[:, 4:])
    assert content.skip is not None
    assert content.skip_norm is not None
    expected = content.skip_norm(outputs[:, :4] + content.skip(pool_grid(features[:, 1:], 2)))
    torch.testing.assert_close(finished[:, :4], expected)


def test_content_skip_can_be_left_out() -> None:
    content = ContentQueries(tiny_config(content_skip=False))
    outputs = noise(2, 9, 16)
    assert content.finish(outputs, noise(2, 17, 16)) is outputs


def test_slot_heads_have_one_class_for_nothing() -> None:
    heads = ObjectSlotHeads(tiny_config(slot_classes=("mug", "lamp", "car")))
    classes, attributes, geometry = heads(noise(2, 5, 16))
    assert (classes.shape, attributes.shape, geometry.shape) == ((2, 5, 4), (2, 5, 11), (2, 5, 3))


def test_sines_tell_every_place_apart() -> None:
    found = sine_positions(8, 32)
    assert found.shape == (64, 32)
    distances = torch.cdist(found, found) + 10 * torch.eye(64)
    assert distances.min() > 0.1
    grid = found.reshape(8, 8, 32)
    assert torch.equal(grid[0, :, :16], grid[5, :, :16]), "the first half follows the column"
    assert torch.equal(grid[:, 0, 16:], grid[:, 5, 16:]), "the second half follows the row"
