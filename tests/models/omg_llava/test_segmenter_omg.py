"""The query decoder as a segmenter: prompts see their picture alone; masks keep the order of the prompts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.models.mask2former.modeling_mask2former import Mask2FormerMaskedAttentionDecoder

from segue.models.omg_llava.perception import MASK_FEATURES, Perception
from segue.models.omg_llava.presets_omg_llava import tiny_omg_llava_config
from segue.models.omg_llava.segmenter_omg import QueryDecoderSegmenter, decode_alone, looking
from segue.models.segmenter import MaskPrompts


@pytest.fixture(scope="module")
def segmenter() -> QueryDecoderSegmenter:
    config = tiny_omg_llava_config().perception_config
    torch.manual_seed(3)
    return QueryDecoderSegmenter(Perception(config).eval(), Mask2FormerMaskedAttentionDecoder(config).eval())


@pytest.fixture(scope="module")
def features(segmenter: QueryDecoderSegmenter) -> dict[str, Any]:
    torch.manual_seed(4)
    with torch.no_grad():
        return segmenter.encode(torch.randn(3, 3, segmenter.input_size, segmenter.input_size))


def test_the_seam(segmenter: QueryDecoderSegmenter, features: dict[str, Any]) -> None:
    assert (segmenter.input_size, segmenter.prompt_width, segmenter.centred) == (128, 64, True)
    assert {len(value) for value in features.values()} == {3}
    nothing = segmenter.decode(features, MaskPrompts(torch.zeros(0, 64), torch.zeros(0, dtype=torch.long)))
    assert nothing.shape == (0, 32, 32)


def test_masks_depend_on_their_own_prompt_and_picture_alone(
    segmenter: QueryDecoderSegmenter, features: dict[str, Any]
) -> None:
    prompts, index = torch.randn(5, 64), torch.tensor([2, 0, 2, 1, 0])
    with torch.no_grad():
        together = segmenter.predictions(features, MaskPrompts(prompts, index))
        for k, image in enumerate(index.tolist()):
            picture = {name: value[image : image + 1] for name, value in features.items()}
            one = MaskPrompts(prompts[k : k + 1], torch.tensor([0]))
            torch.testing.assert_close(together[:, k : k + 1], segmenter.predictions(picture, one))
    assert together.shape == (4, 5, 32, 32)
    # Prompts differ and pictures differ, else the comparison above would say little.
    assert float((together[-1, 0] - together[-1, 2]).abs().max()) > 1e-3
    assert float((together[0, 1] - together[0, 4]).abs().max()) > 1e-3


def test_one_prompt_is_decoded_as_transformers_decodes_a_single_query(
    segmenter: QueryDecoderSegmenter, features: dict[str, Any]
) -> None:
    query = torch.randn(1, 64)
    picture = looking(segmenter.perception, features, 1)
    feature, position = query[:, None].chunk(2, dim=-1)
    with torch.no_grad():
        state, masks = decode_alone(segmenter.decoder, picture, query)
        whole = segmenter.decoder(
            inputs_embeds=feature,
            query_position_embeddings=position,
            pixel_embeddings=features[MASK_FEATURES][1:2],
            encoder_hidden_states=picture.values,
            # Keys are values with their places.
            multi_stage_positional_embeddings=[
                k - v for k, v in zip(picture.keys, picture.values, strict=True)
            ],
            feature_size_list=picture.sizes,
            output_attentions=False,
            output_hidden_states=False,
            return_dict=True,
        )
    torch.testing.assert_close(state, whole.last_hidden_state[:, 0], rtol=1e-4, atol=1e-5)
    for found, wanted in zip(masks, whole.masks_queries_logits, strict=True):
        torch.testing.assert_close(found, wanted[0], rtol=1e-4, atol=1e-4)


def test_a_prompt_learns_through_a_frozen_decoder(
    segmenter: QueryDecoderSegmenter, features: dict[str, Any]
) -> None:
    prompts = torch.randn(2, 64, requires_grad=True)
    segmenter.decode(features, MaskPrompts(prompts, torch.tensor([0, 1]))).square().sum().backward()
    assert prompts.grad is not None
    # Both halves: the query, and where it is.
    assert all(float(half.abs().sum()) > 0 for half in prompts.grad.chunk(2, dim=-1))
