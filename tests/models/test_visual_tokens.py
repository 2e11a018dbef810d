"""The vision module against direct computation, and each of its options alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segue.models.modeling_prima import reset_attention
from segue.models.presets_parts import TINY_QFORMER
from segue.models.presets_prima import tiny_prima_config
from segue.models.visual_tokens import FeatureFusion, InstructionQueries, RelationalQueries, pool_grid


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def randomise(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module.eval()


def attend(attention: nn.MultiheadAttention, queries: Tensor, keys: Tensor) -> Tensor:
    """One head after the other, written out."""
    width, heads = attention.embed_dim, attention.num_heads
    weights = (
        [attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight]
        if attention.in_proj_weight is None
        else attention.in_proj_weight.chunk(3)
    )
    biases = attention.in_proj_bias.chunk(3)
    q, k, v = (x @ w.T + b for x, w, b in zip((queries, keys, keys), weights, biases, strict=True))
    size = width // heads
    outputs = []
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        scores = q[..., part] @ k[..., part].transpose(-1, -2) / size**0.5
        outputs.append(scores.softmax(-1) @ v[..., part])
    return torch.cat(outputs, -1) @ attention.out_proj.weight.T + attention.out_proj.bias


def test_pool_grid_is_the_mean_over_cells_row_by_row() -> None:
    tokens = noise(2, 16, 3)
    cells = tokens.numpy().reshape(2, 2, 2, 2, 2, 3).mean(axis=(2, 4)).reshape(2, 4, 3)
    np.testing.assert_allclose(pool_grid(tokens, 2).numpy(), cells, atol=1e-6)
    torch.testing.assert_close(pool_grid(tokens, 4), tokens)


@torch.no_grad()
def test_fusion_is_cross_attention_with_clip_as_query() -> None:
    config = tiny_prima_config(
        aux_vision_config={"hidden_size": 24, "num_attention_heads": 2, "num_register_tokens": 2},
    )
    fusion = randomise(FeatureFusion(config))
    clip, dino = noise(2, 5, 16), noise(2, 7, 24, seed=1)
    keys = nn.functional.layer_norm(dino, (24,), fusion.key_norm.weight, fusion.key_norm.bias)
    queries = nn.functional.layer_norm(clip, (16,), fusion.query_norm.weight, fusion.query_norm.bias)
    torch.testing.assert_close(
        fusion(clip, dino), clip + attend(fusion.attention, queries, keys), atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
def test_fusion_starts_as_the_identity() -> None:
    fusion = FeatureFusion(tiny_prima_config())
    reset_attention(fusion.attention)
    clip = noise(2, 17, 16)
    assert torch.equal(fusion(clip, noise(2, 19, 16, seed=1)), clip)


@torch.no_grad()
def test_relational_queries_see_all_images_of_their_conversation_and_no_other() -> None:
    relational = randomise(RelationalQueries(tiny_prima_config()))
    features = noise(4, 5, 16)
    found = relational(features, [1, 3])
    assert found.shape == (4, 5, 16)
    expected = attend(relational.attention, relational.queries, features[1:].flatten(0, 1)[None])
    for row in found[1:]:
        torch.testing.assert_close(row, expected[0], atol=1e-5, rtol=1e-5)
    alone = attend(relational.attention, relational.queries, features[:1])
    torch.testing.assert_close(found[0], alone[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("keep", [False, True])
@torch.no_grad()
def test_the_instruction_is_read_and_its_padding_is_not(shaken: Callable[..., Any], keep: bool) -> None:
    reader: InstructionQueries = shaken(keep_text_outputs=keep)[0].reader
    features = noise(3, 17, 16)
    ids, mask = torch.tensor([[20, 21, 0, 0], [22, 23, 24, 25]]), torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    outputs, kept = reader(features, ids, mask, [2, 1])
    assert outputs.shape == (3, 9 if keep else 5, 16)
    assert kept.sum(1).tolist() == ([7, 7, 9] if keep else [5, 5, 5])
    other_padding = torch.tensor([[20, 21, 30, 31], [22, 23, 24, 25]])
    again, _ = reader(features, other_padding, mask, [2, 1])
    torch.testing.assert_close(again[kept], outputs[kept], atol=1e-6, rtol=1e-5)
    changed, _ = reader(features, torch.tensor([[20, 40, 0, 0], [22, 23, 24, 25]]), mask, [2, 1])
    assert (changed - outputs)[:2, :5].abs().max() > 1e-3
    torch.testing.assert_close(changed[2], outputs[2])


@torch.no_grad()
def test_features_reach_the_learned_queries(shaken: Callable[..., Any]) -> None:
    reader: InstructionQueries = shaken()[0].reader
    ids, mask = torch.tensor([[20, 21]]), torch.ones(1, 2, dtype=torch.long)
    first, _ = reader(noise(1, 17, 16), ids, mask, [1])
    second, _ = reader(noise(1, 17, 16, seed=5), ids, mask, [1])
    assert (first - second).abs().amax(2).min() > 1e-3


def moved_by_the_image(shaken: Callable[..., Any], layers: int, **options: Any) -> tuple[float, float]:
    """How far another image moves the reader's outputs at the queries and at the instruction."""
    reader: InstructionQueries = shaken(
        keep_text_outputs=True, qformer_config=TINY_QFORMER | {"num_hidden_layers": layers}, **options
    )[0].reader
    ids, mask = torch.tensor([[20, 21, 22]]), torch.ones(1, 3, dtype=torch.long)
    with torch.no_grad():
        first, second = (reader(noise(1, 17, 16, seed=seed), ids, mask, [1])[0] for seed in (0, 5))
    change = (first - second).abs()
    return float(change[:, :5].max()), float(change[:, 5:].max())


def test_the_instruction_s_outputs_see_the_image_only_through_the_queries(fresh: Callable[..., Any]) -> None:
    """With one layer not at all; with two, what self-attention in the second brings over."""
    queries, text = moved_by_the_image(fresh, layers=1)
    assert queries > 0.1
    assert text == 0
    assert moved_by_the_image(fresh, layers=2)[1] > 1e-2


def test_the_instruction_may_cross_attend_with_the_same_weights(fresh: Callable[..., Any]) -> None:
    queries, text = moved_by_the_image(fresh, layers=1, instruction_cross_attention=True)
    assert queries > 0.1
    assert text > 0.1
    # In the first layer the queries do not see the difference yet.
    assert queries == pytest.approx(moved_by_the_image(fresh, layers=1)[0], rel=1e-5)
    plain, crossing = (fresh(instruction_cross_attention=on)[0].state_dict() for on in (False, True))
    assert list(plain) == list(crossing)
    assert all(torch.equal(plain[name], crossing[name]) for name in plain)
