"""The query decoder behind the segmenter seam: a `[SEG]` is one more query, which sees the picture alone.

Legend: N pictures, K prompts, C width of a query, H heads, L places of a level, h x w the grid of masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segue.models.gradients import gradients_of
from segue.models.omg_llava.perception import MASK_FEATURES, MEMORIES, Perception
from segue.models.segmenter import MaskPrompts, SegmenterFeatures, decode_by_image


@dataclass(frozen=True)
class Looking:
    """One picture as the decoder's layers look at it.

    Attributes:
        keys, values: of three levels, `[L, 1, C]` each.
        sizes: height and width of each level.
        mask_features: `[C, h, w]`.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    sizes: tuple[tuple[int, int], ...]
    mask_features: Tensor


def looking(perception: Perception, features: SegmenterFeatures, index: int) -> Looking:
    """A picture's levels with their places, as the learned queries see them."""
    module = perception.transformer_module
    keys, values, sizes = [], [], []
    for number, name in enumerate(MEMORIES):
        level = features[name][index : index + 1]
        depth = module.level_embed.weight[number].to(level.dtype)
        value = (level.flatten(2) + depth[None, :, None]).permute(2, 0, 1)
        place = module.position_embedder(level.shape, level.device, level.dtype, None)
        values.append(value)
        keys.append(value + place.flatten(2).permute(2, 0, 1))
        sizes.append((int(level.shape[-2]), int(level.shape[-1])))
    return Looking(tuple(keys), tuple(values), tuple(sizes), features[MASK_FEATURES][index])


@dataclass(frozen=True)
class Steering:
    """Where prompts look, for a box or a drawn mask.

    Attributes:
        levels: of three levels `[K, L]` each. Numbers are added to the attention's logits, where their own
            masks let prompts look (-100 outside a box); bool says in place of their masks where they do not
            look.
    """

    levels: tuple[Tensor, ...]


def decode_alone(
    decoder: Any, picture: Looking, queries: Tensor, steering: Steering | None = None
) -> tuple[Tensor, list[Tensor]]:
    """Run prompts through all layers, none of which sees another prompt.

    As rows of one query each, of which the picture's keys are shared: a batch of rows would repeat them, and
    67 MB of mask features at full size, for every prompt.

    Args:
        decoder: transformers' `Mask2FormerMaskedAttentionDecoder`.
        picture: that all prompts look at.
        queries: `[K, 2C]`, a query and its position each.
        steering: None lets each prompt look where its own last mask is.

    Returns:
        `[K, C]` behind the last layer, before its norm; mask logits `[K, h, w]` of every prediction.

    Source: OMG-LLaVA's code.
    """
    feature, position = queries[:, None].chunk(2, dim=-1)
    masks = [_predict(decoder, picture, feature)]
    for number, layer in enumerate(decoder.layers):
        level = number % len(picture.sizes)
        where = _elsewhere(masks[-1], picture.sizes[level]) if steering is None else steering.levels[level]
        if where.is_floating_point():
            own = _open_empty(_elsewhere(masks[-1], picture.sizes[level]))
            where = where.to(feature.dtype).masked_fill(own, float("-inf"))
        else:
            where = _open_empty(where)
        seen, _ = layer.cross_attn(
            query=feature + position,
            key=picture.keys[level],
            value=picture.values[level],
            attn_mask=where.expand(layer.cross_attn.num_heads, -1, -1),
            need_weights=False,
        )
        feature = layer.cross_attn_layer_norm(feature + seen)
        # Sequences of one prompt each: K is the batch here.
        alone = layer.self_attn(feature.transpose(0, 1), position_embeddings=position.transpose(0, 1))[0]
        feature = layer.self_attn_layer_norm(feature + alone.transpose(0, 1))
        feature = layer.final_layer_norm(feature + layer.fc2(layer.activation_fn(layer.fc1(feature))))
        masks.append(_predict(decoder, picture, feature))
    return feature[:, 0], masks


def _predict(decoder: Any, picture: Looking, feature: Tensor) -> Tensor:
    """Mask logits `[K, h, w]` of prompts `[K, 1, C]`."""
    codes = decoder.mask_predictor.mask_embedder(decoder.layernorm(feature)).flatten(0, 1)
    return torch.einsum("kc,chw->khw", codes, picture.mask_features)


def _elsewhere(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Places of a level `[K, L]` bool in which a mask is more unlikely than likely."""
    shrunk = F.interpolate(masks[:, None].detach(), size, mode="bilinear", align_corners=False)
    return shrunk.flatten(1).sigmoid() < 0.5


def _open_empty(where: Tensor) -> Tensor:
    """Rows `[K, L]` in which nothing may be looked at look everywhere."""
    return where & ~where.all(-1, keepdim=True)


class QueryDecoderSegmenter:
    """Mask2Former's decoder with a language model's state as query and position.

    It owns no weights: they are those of `perception` and of the decoder.

    Args:
        perception: encodes pictures.
        decoder: transformers' `Mask2FormerMaskedAttentionDecoder`, which draws; a copy of the perception's
            own, which goes on seeing objects as it always did.

    Source: OMG-LLaVA's code (`transformer_decoder_llm`, `mask_embed_llm`).
    """

    centred = True

    def __init__(self, perception: Perception, decoder: Any) -> None:
        self.perception, self.decoder = perception, decoder
        config = perception.config
        self.input_size: int = config.backbone_config.image_size
        self.prompt_width: int = 2 * config.hidden_dim
        self.name = f"OMG-Seg's query decoder ({config.decoder_layers - 1} layers, {self.input_size} px)"

    def encode(self, pixels: Tensor) -> SegmenterFeatures:
        """`[N, 3, S, S]` to `Perception.maps`; without gradient while it is frozen."""
        with gradients_of(self.perception):
            return self.perception.maps(self.perception.stages(pixels.to(self.perception.dtype)))

    def decode(self, features: SegmenterFeatures, prompts: MaskPrompts) -> Tensor:
        """Logits `[K, h, w]` of the last prediction, in the order of the prompts."""
        return self.predictions(features, prompts)[-1]

    def predictions(self, features: SegmenterFeatures, prompts: MaskPrompts) -> Tensor:
        """Logits `[layers + 1, K, h, w]`: training compares all of them, as in Mask2Former."""
        # A training run may have brought the two to different precisions.
        dtype = self.decoder.layernorm.weight.dtype
        features = {name: value.to(dtype) for name, value in features.items()}
        mask_features = features[MASK_FEATURES]
        rounds = len(self.decoder.layers) + 1
        if len(prompts) == 0:
            return mask_features.new_zeros((rounds, 0, *mask_features.shape[-2:]))

        def draw(chosen: SegmenterFeatures, sparse: Tensor) -> Tensor:
            drawn = []
            for number, queries in enumerate(sparse.to(mask_features.dtype)):
                picture = looking(self.perception, chosen, number)
                _, masks = decode_alone(self.decoder, picture, queries)
                drawn.append(torch.stack(masks))
            return torch.cat(drawn, dim=1)

        return decode_by_image(features, prompts, draw)
