"""[SEG] states to SAM masks: one decoder call per image, however many masks it has."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import SamModel

from segue.errors import AlignmentError


class SegProjection(nn.Sequential):
    """f_t-s: the LM's state to a SAM prompt, Linear - ReLU - Linear.

    Source: PRIMA section 3.2; layers as in GLaMM.
    """

    def __init__(self, width: int, hidden_width: int, prompt_width: int) -> None:
        super().__init__(nn.Linear(width, hidden_width), nn.ReLU(), nn.Linear(hidden_width, prompt_width))


def decode_masks(sam: SamModel, image_embeddings: Tensor, prompts: Tensor, image_index: Tensor) -> Tensor:
    """Draw one mask per prompt in the image that it addresses.

    Args:
        sam: supplies the prompt encoder's "no mask" embedding, the positional grid and the mask decoder.
        image_embeddings: `[N, C, h, w]` of SAM's encoder.
        prompts: `[K, C]`, each the only sparse prompt of its mask.
        image_index: `[K]` which of the N images each prompt addresses; any image may have none.

    Returns:
        `[K, 4h, 4w]` logits, in the order of the prompts.

    Raises:
        AlignmentError: prompts and indices differ in number.

    Source: PRIMA section 3.2 (M = S_decode); GLaMM's call of SAM with a text embedding as the only prompt.
    """
    if prompts.shape[0] != image_index.shape[0]:
        raise AlignmentError(
            "prompts and image indices do not match",
            expected=f"{prompts.shape[0]} indices",
            found=str(image_index.shape[0]),
            where="decode_masks",
            fix="address every prompt",
        )
    height, width = image_embeddings.shape[-2:]
    if prompts.shape[0] == 0:
        return image_embeddings.new_zeros((0, 4 * height, 4 * width))
    positions = sam.get_image_wide_positional_embeddings().to(image_embeddings.dtype)
    no_mask = sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
    pieces: list[Tensor] = []
    order: list[Tensor] = []
    counts = torch.bincount(image_index, minlength=image_embeddings.shape[0])
    # Images with equally many masks share one batched call; SAM repeats the image for each of its prompts, so
    # padding to the longest would pay for masks that nobody asked for.
    for count in counts[counts > 0].unique().tolist():
        images = torch.nonzero(counts == count)[:, 0]
        members = torch.cat([torch.nonzero(image_index == i)[:, 0] for i in images])
        sparse = prompts[members].reshape(len(images), count, 1, -1)
        dense = no_mask.to(image_embeddings.dtype).expand(len(images), -1, height, width)
        logits, _ = sam.mask_decoder(
            image_embeddings=image_embeddings[images],
            image_positional_embeddings=positions.expand(len(images), -1, -1, -1),
            sparse_prompt_embeddings=sparse.to(image_embeddings.dtype),
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        pieces.append(logits.flatten(0, 1)[:, 0])
        order.append(members)
    return torch.cat(pieces)[torch.cat(order).argsort()]
