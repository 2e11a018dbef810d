"""Starts of towers that are trained from nothing: positions, alike queries and keys, whitened patches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from segue.mini.starts import alike_queries, start_sam, start_towers, whiten_patches
from segue.models.mini.slots import sine_positions


def pictures(count: int, side: int, seed: int = 0) -> torch.Tensor:
    """Smooth noise, as photographs are: neighbouring pixels are alike."""
    coarse = torch.randn(count, 3, 9, 9, generator=torch.Generator().manual_seed(seed))
    fine = 0.1 * torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed + 1))
    return nn.functional.interpolate(coarse, (side, side), mode="bilinear") + fine


def test_whitened_patches_are_centred_and_uncorrelated() -> None:
    projection = nn.Conv2d(3, 8, 7, stride=7)
    pixels = pictures(40, 56)
    whiten_patches(projection, pixels, gain=0.5)
    with torch.no_grad():
        outputs = projection(pixels).transpose(0, 1).flatten(1)
    assert outputs.mean(1).abs().max() < 1e-3
    covariance = torch.cov(outputs)
    spread = covariance.diagonal()
    assert (spread > 0.1).all()
    assert (spread < 0.26).all()
    correlation = covariance / (spread[:, None] * spread[None]).sqrt() - torch.eye(8)
    assert correlation.abs().max() < 0.35
    plain = nn.Conv2d(3, 8, 7, stride=7)
    with torch.no_grad():
        assert torch.corrcoef(plain(pixels).transpose(0, 1).flatten(1)).sub(torch.eye(8)).abs().max() > 0.6


def test_alike_queries_are_one_orthonormal_projection_a_head() -> None:
    weights = alike_queries(16, 2)
    assert weights.shape == (16, 16)
    for head in weights.split(8):
        torch.testing.assert_close(head @ head.T, torch.eye(8), atol=1e-5, rtol=0)


def test_towers_start_with_positions_and_look_at_their_like(tiny: Callable[..., Any]) -> None:
    model, _ = tiny()
    start_towers(model, pictures(8, 56), pictures(8, 56, 5))
    dino, clip = model.aux_vision_model, model.vision_model
    torch.testing.assert_close(
        dino.embeddings.position_embeddings[0, 1:].detach(), 0.5 * sine_positions(4, 16)
    )
    torch.testing.assert_close(
        clip.embeddings.position_embedding[0, 1:].detach(), 0.5 * sine_positions(4, 16)
    )
    for layer in dino.encoder.layer:
        assert torch.equal(layer.attention.q_proj.weight, layer.attention.k_proj.weight)
        assert not torch.equal(layer.attention.q_proj.weight, layer.attention.v_proj.weight)
    for layer in clip.encoder.layers:
        queries, keys, values = layer.self_attn.qkv.weight.chunk(3)
        assert torch.equal(queries, keys)
        assert not torch.equal(queries, values)


def test_sam_starts_alike_and_the_seed_decides(tiny: Callable[..., Any]) -> None:
    states = []
    for seed in (0, 0, 1):
        model, _ = tiny()
        start_sam(model, pictures(8, 48), seed=seed)
        encoder = model.sam.vision_encoder
        torch.testing.assert_close(encoder.pos_embed.detach().reshape(16, 16), 0.5 * sine_positions(4, 16))
        queries, keys, _ = encoder.layers[0].attn.qkv.weight.chunk(3)
        assert torch.equal(queries, keys)
        states.append(encoder.patch_embed.projection.weight.detach().clone())
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
