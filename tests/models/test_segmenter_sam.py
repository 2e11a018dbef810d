"""One decoder call serves many prompts and changes nothing: the same masks as prompt by prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import SamModel

from segue.errors import AlignmentError, InputError
from segue.models.seg_prompts import SegProjection
from segue.models.segmenter import MaskPrompts, join_features
from segue.models.segmenter_sam import EMBEDDINGS, SamSegmenter


@pytest.fixture(scope="module")
def sam(shaken: Callable[..., Any]) -> SamModel:
    return shaken()[0].sam


@pytest.fixture
def embeddings() -> Tensor:
    return torch.randn(4, 16, 4, 4, generator=torch.Generator().manual_seed(1))


def decode_masks(
    sam: SamModel, embeddings: Tensor, prompts: Tensor, image_index: Tensor, dense: Tensor | None = None
) -> Tensor:
    return SamSegmenter(sam).decode({EMBEDDINGS: embeddings}, MaskPrompts(prompts, image_index, dense))


def prompts_for(count: int) -> Tensor:
    return torch.randn(count, 16, generator=torch.Generator().manual_seed(2))


def draw_one(sam: SamModel, embedding: Tensor, prompt: Tensor) -> Tensor:
    """SAM's own modules called for a single prompt, as in its documentation."""
    logits, _ = sam.mask_decoder(
        image_embeddings=embedding[None],
        image_positional_embeddings=sam.get_image_wide_positional_embeddings(),
        sparse_prompt_embeddings=prompt.reshape(1, 1, 1, -1),
        dense_prompt_embeddings=sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(
            1, -1, 4, 4
        ),
        multimask_output=False,
    )
    return logits[0, 0, 0]


@pytest.mark.parametrize("addressed", [[0], [3, 0, 3, 1, 3], [0, 1, 2, 3], [2, 2, 2], [1, 0, 1, 0, 3]])
@torch.no_grad()
def test_the_same_masks_as_prompt_by_prompt(sam: SamModel, embeddings: Tensor, addressed: list[int]) -> None:
    prompts = prompts_for(len(addressed))
    found = decode_masks(sam, embeddings, prompts, torch.tensor(addressed))
    assert found.shape == (len(addressed), 16, 16)
    expected = torch.stack([draw_one(sam, embeddings[i], p) for i, p in zip(addressed, prompts, strict=True)])
    # Batches of other sizes are summed in another order: 3e-5 was seen on one processor, 1e-6 on another. The
    # wrong image or prompt changes the logits by more than 1e-2 (below).
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


@torch.no_grad()
def test_image_and_prompt_both_matter(sam: SamModel, embeddings: Tensor) -> None:
    prompts = prompts_for(2)
    first = decode_masks(sam, embeddings, prompts, torch.tensor([0, 0]))
    other = decode_masks(sam, embeddings, prompts, torch.tensor([1, 1]))
    assert (first - other).abs().max() > 1e-2
    assert (first[0] - first[1]).abs().max() > 1e-2


@pytest.mark.parametrize(("addressed", "calls"), [([0, 0, 0], 1), ([0, 1, 2, 3], 1), ([0, 0, 1, 1, 2], 2)])
@torch.no_grad()
def test_the_decoder_is_called_per_count_of_masks_not_per_mask(
    sam: SamModel, embeddings: Tensor, addressed: list[int], calls: int
) -> None:
    counted: list[int] = []
    hook = sam.mask_decoder.register_forward_hook(lambda *_: counted.append(1))
    try:
        decode_masks(sam, embeddings, prompts_for(len(addressed)), torch.tensor(addressed))
    finally:
        hook.remove()
    assert len(counted) == calls


def test_no_prompts_no_masks(sam: SamModel, embeddings: Tensor) -> None:
    found = decode_masks(sam, embeddings, torch.zeros(0, 16), torch.zeros(0, dtype=torch.long))
    assert found.shape == (0, 16, 16)


def test_every_prompt_needs_an_address(sam: SamModel, embeddings: Tensor) -> None:
    with pytest.raises(AlignmentError, match=r"3 indices(.|\n)*2"):
        decode_masks(sam, embeddings, prompts_for(3), torch.tensor([0, 1]))


def test_projection_by_hand() -> None:
    projection = SegProjection(2, 2, 1)
    with torch.no_grad():
        projection[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        projection[0].bias.copy_(torch.tensor([0.0, -1.0]))
        projection[2].weight.copy_(torch.tensor([[2.0, 3.0]]))
        projection[2].bias.fill_(0.5)
    # relu(1, 4 - 1) = (1, 3): 2 + 9 + 0.5; relu(-1, 0 - 1) = (0, 0): 0.5.
    assert projection(torch.tensor([[1.0, 4.0], [-1.0, 0.0]])).tolist() == [[11.5], [0.5]]


# ---- dense prompts ----


@torch.no_grad()
def test_a_map_is_sams_own_mask_prompt(sam: SamModel, embeddings: Tensor) -> None:
    maps = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(3))
    prompts, index = prompts_for(3), torch.tensor([1, 0, 1])
    found = decode_masks(sam, embeddings, prompts, index, maps)
    for k, image in enumerate(index.tolist()):
        _, dense = sam.prompt_encoder(None, None, None, maps[k : k + 1, None])
        logits, _ = sam.mask_decoder(
            image_embeddings=embeddings[image : image + 1],
            image_positional_embeddings=sam.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=prompts[k].reshape(1, 1, 1, -1),
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        torch.testing.assert_close(found[k], logits[0, 0, 0], atol=2e-4, rtol=1e-4)
    without = decode_masks(sam, embeddings, prompts, index)
    assert (found - without).abs().max() > 1e-2, "a map that changes nothing proves nothing"


@torch.no_grad()
def test_maps_of_any_size_are_brought_to_the_grid(sam: SamModel, embeddings: Tensor) -> None:
    index = torch.tensor([2])
    maps = torch.full((1, 5, 7), 3.0)
    found = decode_masks(sam, embeddings, prompts_for(1), index, maps)
    same = decode_masks(sam, embeddings, prompts_for(1), index, torch.full((1, 16, 16), 3.0))
    torch.testing.assert_close(found, same)


def test_every_prompt_needs_a_map_where_one_has(sam: SamModel, embeddings: Tensor) -> None:
    with pytest.raises(AlignmentError, match=r"2 indices and 2 maps(.|\n)*2 and 1"):
        MaskPrompts(prompts_for(2), torch.tensor([0, 1]), torch.zeros(1, 4, 4))


def test_features_are_joined_in_order() -> None:
    parts = [
        {"a": torch.tensor([[1.0]]), "b": torch.tensor([[2.0]])},
        {"a": torch.tensor([[3.0]]), "b": torch.tensor([[4.0]])},
    ]
    joined = join_features(parts)
    assert {name: value.tolist() for name, value in joined.items()} == {"a": [[1], [3]], "b": [[2], [4]]}
    with pytest.raises(InputError, match="There are no images to draw in"):
        join_features([])
