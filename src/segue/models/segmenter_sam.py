"""SAM behind the segmenter seam: one decoder call per image, however many masks it has."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import SamModel

from segue.models.gradients import gradients_of
from segue.models.segmenter import MaskPrompts, SegmenterFeatures, decode_by_image

HEAT_LOGIT = 8.0
"""Logit of the hottest place in a map that is given as a mask prompt; SAM was trained on logits of its own
first drawing, most of which lie within this. Source: ours."""

EMBEDDINGS = "image_embeddings"
"""The only feature that SAM keeps of an image, `[N, C, S/16, S/16]`."""


class SamSegmenter:
    """SAM with a language model's state as the only sparse prompt of a mask.

    It owns no weights: they are `model.sam`'s, under the names that checkpoints have for them.

    Source: PRIMA section 3.2 (M = S_decode); GLaMM's call of SAM with a text embedding as the only prompt.
    """

    centred = False

    def __init__(self, sam: SamModel) -> None:
        self.sam = sam
        vision = sam.config.vision_config
        self.name = f"SAM ({vision.num_hidden_layers} layers, {vision.image_size} px)"
        self.input_size: int = vision.image_size
        self.prompt_width: int = sam.config.mask_decoder_config.hidden_size
        # SAM's mask prompt is four times as fine as its embedding.
        self.heat_grid: int = 4 * (vision.image_size // vision.patch_size)

    def encode(self, pixels: Tensor) -> SegmenterFeatures:
        """`[N, 3, S, S]` to embeddings `[N, C, S/16, S/16]`; without gradient while the encoder is frozen."""
        # Not `SamModel.get_image_embeddings`: that one never lets a gradient through.
        encoder: nn.Module = self.sam.vision_encoder
        with gradients_of(encoder):
            return {EMBEDDINGS: encoder(pixels)[0]}

    def decode(self, features: SegmenterFeatures, prompts: MaskPrompts) -> Tensor:
        """Draw one mask per prompt in the image that it addresses.

        Args:
            features: of `encode`.
            prompts: their maps (`dense`), where there are some, go through SAM's own mask prompt.

        Returns:
            `[K, 4h, 4w]` logits, h and w those of the embeddings, in the order of the prompts.
        """
        embeddings = features[EMBEDDINGS]
        height, width = embeddings.shape[-2:]
        if len(prompts) == 0:
            return embeddings.new_zeros((0, 4 * height, 4 * width))
        if prompts.dense is not None:
            # SAM adds the dense prompt to the image itself, so that each prompt needs its own copy of it.
            # That costs nothing: the decoder repeats the image for every prompt in any case.
            dense = embed_maps(self.sam.prompt_encoder, prompts.dense, (height, width)).to(embeddings.dtype)
            sparse = prompts.sparse.reshape(len(prompts), 1, 1, -1)
            return self._draw(embeddings[prompts.image_index], sparse, dense)
        no_mask = self.sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).to(embeddings.dtype)

        def draw(chosen: SegmenterFeatures, sparse: Tensor) -> Tensor:
            dense = no_mask.expand(len(sparse), -1, height, width)
            return self._draw(chosen[EMBEDDINGS], sparse[:, :, None], dense)

        return decode_by_image(features, prompts, draw)

    def draw_heat(self, features: SegmenterFeatures, heat: Tensor, image_index: Tensor) -> Tensor:
        """Draw where `[K, g, g]` maps are hot: the map is the mask prompt, its peak the point."""
        embeddings = features[EMBEDDINGS]
        peaks = heat.flatten(1).argmax(1)
        places = torch.stack([peaks % heat.shape[-1], peaks // heat.shape[-1]], dim=-1)
        points = (places.float() + 0.5) * (self.input_size / heat.shape[-1])
        logits = HEAT_LOGIT * (2 * heat.clamp(0, 1) - 1)
        dense = embed_maps(self.sam.prompt_encoder, logits, (embeddings.shape[-2], embeddings.shape[-1]))
        return self._draw(embeddings[image_index], self._sparse(points=points), dense.to(embeddings.dtype))

    def draw_point(self, features: SegmenterFeatures, point: Tensor) -> Tensor:
        """Draw the thing at a point, as SAM was trained to."""
        return self._draw_clicked(features, self._sparse(points=point[None]))

    def draw_box(self, features: SegmenterFeatures, box: Tensor) -> Tensor:
        """Draw the thing in a box, as SAM was trained to."""
        return self._draw_clicked(features, self._sparse(boxes=box[None]))

    def _draw_clicked(self, features: SegmenterFeatures, sparse: Tensor) -> Tensor:
        embeddings = features[EMBEDDINGS]
        no_mask = self.sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).to(embeddings.dtype)
        return self._draw(embeddings, sparse, no_mask.expand_as(embeddings))

    def _sparse(self, points: Tensor | None = None, boxes: Tensor | None = None) -> Tensor:
        """SAM's own tokens `[K, 1, T, C]` of points `[K, 2]` or boxes `[K, 4]`, in pixels of the square."""
        place = self.sam.prompt_encoder.no_mask_embed.weight
        shown = None if points is None else points[:, None, None].to(place)
        labels = None if shown is None else torch.ones(shown.shape[:3], dtype=torch.int, device=place.device)
        framed = None if boxes is None else boxes[:, None].to(place)
        sparse, _ = self.sam.prompt_encoder(
            input_points=shown, input_labels=labels, input_boxes=framed, input_masks=None
        )
        found: Tensor = sparse
        return found

    def _draw(self, embeddings: Tensor, sparse: Tensor, dense: Tensor) -> Tensor:
        """Images and dense prompts `[n, C, h, w]`, sparse ones `[n, k, 1, C]` to `[n * k, 4h, 4w]`."""
        positions = self.sam.get_image_wide_positional_embeddings().to(embeddings.dtype)
        # The decoder itself: `SamModel.forward` swallows `sparse_prompt_embeddings` (transformers 5.23) and
        # draws as if nothing had been asked. Of its tokens the first is for prompts that mean one thing; the
        # other three offer whole, part and sub-part of a click.
        logits, _ = self.sam.mask_decoder(
            image_embeddings=embeddings,
            image_positional_embeddings=positions.expand(len(embeddings), -1, -1, -1),
            sparse_prompt_embeddings=sparse.to(embeddings.dtype),
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        return logits.flatten(0, 1)[:, 0]


def embed_maps(encoder: nn.Module, maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Maps `[K, h, w]` of any size to dense prompts `[K, C, *grid]`, by SAM's own three convolutions.

    Args:
        encoder: the prompt encoder, of SAM or of SAM 2.
        maps: logits, or heat of any size.
        grid: of the embeddings.
    """
    # They shrink by 4: SAM's mask prompt is four times as fine as its embedding.
    wanted = (4 * grid[0], 4 * grid[1])
    resized = nn.functional.interpolate(maps[:, None], wanted, mode="bilinear", align_corners=False)
    embed = encoder.get_submodule("mask_embed")
    embedded: Tensor = embed(resized.to(next(embed.parameters()).dtype))
    return embedded
