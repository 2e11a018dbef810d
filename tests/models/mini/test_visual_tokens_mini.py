"""The embedded model's additions to PRIMA's fusion and reader, each alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from segue.models.mini.build import build_from_tokenizer
from segue.models.mini.presets_mini import tiny_config
from segue.models.mini.slots import sine_positions
from segue.models.mini.visual_tokens_mini import MiniFusion, MiniQueries
from segue.models.modeling_prima import reset_attention
from segue.models.visual_tokens import pool_grid


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_pooled_skip_adds_dino_patches_to_patches_only() -> None:
    fusion = MiniFusion(tiny_config(fusion_ffn=False, fusion_positions=False)).eval()
    reset_attention(fusion.attention)
    assert fusion.pooled_skip is not None
    clip, dino = noise(1, 5, 16), noise(1, 3 + 16, 16, seed=1)  # 2 x 2 CLIP patches; 4 x 4 DINOv2 patches
    found = fusion(clip, dino)
    assert torch.equal(found[:, 0], clip[:, 0])
    expected = clip[:, 1:] + fusion.pooled_skip(pool_grid(dino[:, 3:], 2))
    torch.testing.assert_close(found[:, 1:], expected)
    dino[:, :3] += 5  # the class token and the registers
    torch.testing.assert_close(fusion(clip, dino), found)


@torch.no_grad()
def test_positions_start_as_sines_and_are_added_last(tiny_tokenizer: Any) -> None:
    fusion = build_from_tokenizer("tiny", tiny_tokenizer, fusion_positions=True)[0].fusion
    plain = build_from_tokenizer("tiny", tiny_tokenizer, fusion_positions=False)[0].fusion
    assert plain.positions is None
    assert fusion.positions is not None
    positions = fusion.positions[0]
    assert not positions[0].any(), "the class token is nowhere"
    torch.testing.assert_close(positions[1:], 0.5 * sine_positions(4, 16))
    plain.load_state_dict(fusion.state_dict(), strict=False)
    clip, dino = noise(2, 17, 16), noise(2, 19, 16, seed=1)
    torch.testing.assert_close(
        fusion(clip, dino) - plain(clip, dino), positions.expand(2, -1, -1), atol=1e-5, rtol=0
    )


@torch.no_grad()
def test_queries_without_content_read_the_image_by_cross_attention(shaken: Callable[..., Any]) -> None:
    reader: MiniQueries = shaken()[0].reader
    ids, mask = torch.tensor([[20, 21]]), torch.ones(1, 2, dtype=torch.long)
    first, _ = reader(noise(1, 17, 16), ids, mask, [1])
    second, _ = reader(noise(1, 17, 16, seed=5), ids, mask, [1])
    assert (first - second)[:, 4:].abs().max() > 1e-2
