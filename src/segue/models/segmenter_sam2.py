"""SAM 2 and 2.1 behind the segmenter seam: finer maps of the image help to draw, beside its embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import Sam2Model

from segue.models.gradients import gradients_of
from segue.models.segmenter import MaskPrompts, SegmenterFeatures, decode_by_image
from segue.models.segmenter_sam import EMBEDDINGS, embed_maps

FINE, FINEST = "stride_8", "stride_4"
"""Names of the finer maps, `[N, C/4, S/8, S/8]` and `[N, C/8, S/4, S/4]`."""


class Sam2Segmenter:
    """SAM 2 with a language model's state as the sparse prompt of a mask.

    It owns no weights: they are `model.sam`'s. Pictures are squashed to the square, as SAM 2 was trained.

    Args:
        sam: SAM 2 or 2.1.
        padding_points: tokens "not a point" that stand before each prompt. SAM 2's own prompt encoder gives
            two of them to a call without clicks. Source: 0 as our SAM; 2 Sa2VA's code.
        best_of_three: take, of mask tokens 1 to 3, the one that promises the highest IoU, in training too; or
            token 0, which is for prompts that mean one thing. Source: token 0 as our SAM; True Sa2VA's code.

    Source: SAM 2 (features of strides 4 and 8 in the decoder); the prompt is LISA's and PRIMA's.
    """

    centred = False

    def __init__(self, sam: Sam2Model, *, padding_points: int = 0, best_of_three: bool = False) -> None:
        self.sam, self.padding_points, self.best_of_three = sam, padding_points, best_of_three
        self.input_size: int = sam.config.prompt_encoder_config.image_size
        self.prompt_width: int = sam.config.mask_decoder_config.hidden_size
        blocks = sum(sam.config.vision_config.backbone_config.blocks_per_stage)
        self.name = f"SAM 2 (Hiera, {blocks} blocks, {self.input_size} px)"

    def encode(self, pixels: Tensor) -> SegmenterFeatures:
        """`[N, 3, S, S]` to an embedding and two finer maps; without gradient while the encoder is frozen.

        The finer maps have gone through the decoder's two 1 x 1 convolutions: an eighth and a quarter of
        their 256 channels remain to be kept, 17 MB an image in place of 88.
        """
        # Not `Sam2Model.get_image_embeddings`: that one never lets a gradient through.
        encoder: nn.Module = self.sam.vision_encoder
        with gradients_of(encoder):
            finest, fine, coarse = encoder(pixels).fpn_hidden_states
        decoder = self.sam.mask_decoder
        return {EMBEDDINGS: coarse, FINE: decoder.conv_s1(fine), FINEST: decoder.conv_s0(finest)}

    def decode(self, features: SegmenterFeatures, prompts: MaskPrompts) -> Tensor:
        """Draw one mask per prompt in the image that it addresses.

        Args:
            features: of `encode`.
            prompts: their maps (`dense`), where there are some, go through SAM 2's own mask prompt.

        Returns:
            `[K, 4h, 4w]` logits, h and w those of the embeddings, in the order of the prompts.
        """
        height, width = features[EMBEDDINGS].shape[-2:]
        if len(prompts) == 0:
            return features[EMBEDDINGS].new_zeros((0, 4 * height, 4 * width))
        if prompts.dense is not None:
            # Added to the image itself, so that each prompt needs its own copy of it.
            own = {name: value[prompts.image_index] for name, value in features.items()}
            dense = embed_maps(self.sam.prompt_encoder, prompts.dense, (height, width))
            return self._draw(own, prompts.sparse[:, None], dense)
        no_mask = self.sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        return decode_by_image(
            features,
            prompts,
            lambda chosen, sparse: self._draw(chosen, sparse, no_mask.expand(len(sparse), -1, height, width)),
        )

    def _draw(self, features: SegmenterFeatures, sparse: Tensor, dense: Tensor) -> Tensor:
        """Features of n images, prompts `[n, k, C]` and `[n, C, h, w]` to `[n * k, 4h, 4w]`."""
        # Told that nothing is remembered of earlier frames, as for every single picture.
        embeddings = features[EMBEDDINGS] + self.sam.no_memory_embedding.reshape(1, -1, 1, 1)
        positions = self.sam.get_image_wide_positional_embeddings().to(embeddings.dtype)
        logits, promised, _, _ = self.sam.mask_decoder(
            image_embeddings=embeddings,
            image_positional_embeddings=positions.expand(len(embeddings), -1, -1, -1),
            sparse_prompt_embeddings=self._padded(sparse).to(embeddings.dtype),
            dense_prompt_embeddings=dense.to(embeddings.dtype),
            multimask_output=self.best_of_three,
            high_resolution_features=[features[FINEST], features[FINE]],
        )
        logits, promised = logits.flatten(0, 1), promised.flatten(0, 1)
        if not self.best_of_three:
            return logits[:, 0]
        return logits[torch.arange(len(logits), device=logits.device), promised.argmax(1)]

    def _padded(self, sparse: Tensor) -> Tensor:
        """Prompts `[n, k, C]` to the tokens that the decoder reads, `[n, k, padding + 1, C]`."""
        point = self.sam.prompt_encoder.not_a_point_embed.weight.to(sparse.dtype)
        padding = point.expand(*sparse.shape[:2], self.padding_points, -1)
        return torch.cat([padding, sparse[:, :, None]], dim=2)
