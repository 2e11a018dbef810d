"""Names of SAM's patches: coverage and loss by hand, shares that add up, a gradient for the encoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from segue import masks
from segue.training.name_patches import NamePatches, patch_coverage

Tiny = Callable[..., Any]


def rle(height: int, width: int, rows: slice, columns: slice) -> Any:
    mask = np.zeros((height, width), bool)
    mask[rows, columns] = True
    return masks.encode(mask)


def conversation(*regions: tuple[int, str, Any]) -> Any:
    found = [SimpleNamespace(image_index=i, name=name, mask=mask) for i, name, mask in regions]
    return SimpleNamespace(images=[None, None], regions=found)


def test_coverage_lies_on_the_photograph_inside_the_square() -> None:
    # 20 x 40 fits a square of 40 as its upper half: rows 0 and 1 of a 4 x 4 grid of patches.
    left = patch_coverage(rle(20, 40, slice(0, 20), slice(0, 10)), (20, 40), 4, 40).reshape(4, 4)
    assert left.tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    half = patch_coverage(rle(20, 40, slice(0, 5), slice(0, 10)), (20, 40), 4, 40)
    assert half.reshape(4, 4)[0, 0] == pytest.approx(0.5)


def test_regions_of_one_name_are_united_and_strange_names_are_left_out() -> None:
    patches = NamePatches({"mug": 0, "lid": 1}, 4, 40)
    upper, lower = (rle(40, 40, rows, slice(0, 40)) for rows in (slice(0, 10), slice(30, 40)))
    shown = [(0, "mug", upper), (0, "mug", lower), (1, "lid", upper), (1, "cat", lower), (1, "mug", None)]
    talk = conversation(*shown)
    found = patches.targets(talk, [(40, 40), (40, 40)]).reshape(2, 2, 4, 4)
    assert found[0, 0, :, 0].tolist() == [1, 0, 0, 1]
    assert found[1, 1, :, 0].tolist() == [1, 0, 0, 0]
    assert float(found.sum()) == 12


@pytest.fixture
def headed(tiny: Tiny) -> tuple[Any, NamePatches]:
    model, _ = tiny()
    return model, NamePatches.of(model, ["mug", "lid"])


def test_the_loss_by_hand(headed: tuple[Any, NamePatches]) -> None:
    model, patches = headed
    width, grid = model.training_heads.in_features, patches.grid
    embeddings = torch.randn(1, width, grid, grid)
    covered = torch.zeros(1, 2, grid**2)
    covered[0, 0, 0], covered[0, 1, 1] = 0.25, 1.0
    off, on = math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    n = grid**2
    # The head starts at zero with a bias of -2; a quarter of a patch counts as half shown.
    mug = ((n - 1) * off + 0.5 * 5 * on + 0.5 * off) / n
    lid = ((n - 1) * off + 5 * on) / n
    both, one = torch.tensor([[1, 1]]), torch.tensor([[1, -1]])
    for shown, total, wanted in ((both, 2, (mug + lid) / 2), (one, 1, mug)):
        found = patches.loss(model, embeddings, covered, shown, total)
        assert float(found.detach()) == pytest.approx(wanted, rel=1e-5)


def test_shares_add_up_to_the_whole(headed: tuple[Any, NamePatches]) -> None:
    model, patches = headed
    torch.manual_seed(0)
    torch.nn.init.normal_(model.training_heads.weight)
    embeddings = torch.randn(4, model.training_heads.in_features, patches.grid, patches.grid)
    covered, shown = torch.rand(4, 2, patches.grid**2), torch.tensor([[1, 0], [-1, 1], [0, 0], [-1, -1]])
    total = float((shown >= 0).sum())
    whole = patches.loss(model, embeddings, covered, shown, total)
    cuts = (slice(1), slice(1, 4))
    shares = [patches.loss(model, embeddings[c], covered[c], shown[c], total) for c in cuts]
    torch.testing.assert_close(torch.stack(shares).sum(), whole)


def test_the_encoder_learns_from_it(headed: tuple[Any, NamePatches]) -> None:
    model, patches = headed
    torch.nn.init.normal_(model.training_heads.weight)
    size = model.config.sam_config.vision_config.image_size
    embeddings = model.encode_sam(torch.randn(1, 3, size, size))
    covered = torch.zeros(1, 2, patches.grid**2)
    covered[0, 0, :3] = 1
    patches.loss(model, embeddings, covered, torch.tensor([[1, 0]]), 2).backward()
    gradient = model.sam.vision_encoder.patch_embed.projection.weight.grad
    assert gradient is not None
    assert float(gradient.abs().sum()) > 0


def test_the_head_starts_at_zero(headed: tuple[Any, NamePatches]) -> None:
    model, _ = headed
    assert float(model.training_heads.weight.detach().abs().sum()) == 0, "no random numbers, so runs compare"
