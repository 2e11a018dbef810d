"""Placeholder runs to visual tokens, and [SEG] positions to mask prompts; loud on any mismatch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from segue.errors import AlignmentError
from segue.models.losses import IGNORE_INDEX


@dataclass
class TextInputs:
    """The text of a batch of conversations: three tensors that grow and shrink together.

    Attributes:
        input_ids: `[B, L]`, right-padded.
        attention_mask: `[B, L]`, 1 where there is a token; None where nothing is padding.
        labels: `[B, L]`, `IGNORE_INDEX` where there is no loss; None while an answer is generated.
    """

    input_ids: Tensor
    attention_mask: Tensor | None = None
    labels: Tensor | None = None


def splice_visual_tokens(
    inputs_embeds: Tensor, input_ids: Tensor, image_token_id: int, visual_tokens: Tensor, visual_mask: Tensor
) -> Tensor:
    """Put visual tokens where the placeholders stand, in order.

    Worked example: one conversation with two images of three tokens each::

        ids     The <image> <image> <image> (IMAGE1) and <image> <image> <image> (IMAGE2)
        becomes The  v0,0    v0,1    v0,2   (IMAGE1) and  v1,0    v1,1    v1,2   (IMAGE2)

    Args:
        inputs_embeds: `[B, L, D]` embedded text.
        input_ids: `[B, L]`, with `image_token_id` once per visual token.
        image_token_id: the placeholder.
        visual_tokens: `[N, T, D]`, all images of the batch in the order of their conversations.
        visual_mask: `[N, T]` bool, False where a token is padding (instructions differ in length).

    Returns:
        `[B, L, D]`.

    Raises:
        AlignmentError: the number of placeholders is not the number of visual tokens.

    Source: architecture rule 2 (positions are literal); paper section 3.2.
    """
    placeholders = input_ids == image_token_id
    expected, found = int(placeholders.sum()), int(visual_mask.sum())
    if expected != found:
        raise AlignmentError(
            "placeholders and visual tokens do not match",
            expected=f"{expected} visual tokens, one per <image> placeholder",
            found=f"{found} from {visual_tokens.shape[0]} images",
            where="splice_visual_tokens",
            fix="build inputs with the model's own processor and pass every image that it names",
        )
    # Both sides go row by row, so the order is that of the text. masked_scatter refuses mixed dtypes.
    values = visual_tokens[visual_mask].to(inputs_embeds.dtype)
    return inputs_embeds.masked_scatter(placeholders[..., None], values)


def expand_placeholders(text: TextInputs, image_token_id: int, counts: Tensor) -> None:
    """Repeat each image's single placeholder once per visual token, in place; rows stay right-padded.

    Worked example, two images of 3 and 2 tokens::

        ids     Is  <image>                  or <image>         larger ?
        becomes Is  <image> <image> <image>  or <image> <image> larger ?

    Args:
        text: `[B, L]` with one placeholder per image.
        image_token_id: the placeholder.
        counts: `[N]` visual tokens of each image of the batch, 1 or more.

    Raises:
        AlignmentError: The number of placeholders is not the number of images.

    Source: OMG-LLaVA, whose object tokens are as many as it finds.
    """
    ids = text.input_ids
    placeholders = ids == image_token_id
    if int(placeholders.sum()) != len(counts):
        raise AlignmentError(
            "placeholders and images do not match",
            expected=f"{len(counts)} <image> placeholders, one per image",
            found=str(int(placeholders.sum())),
            where="expand_placeholders",
            fix="build inputs with the model's own processor and pass every image that they name",
        )
    # `Is <image> or <image>` with 3 and 2 tokens: 1 3 1 2.
    repeats = torch.ones_like(ids).masked_scatter(placeholders, counts.to(ids))
    longest = int(repeats.sum(1).max())

    def expanded(rows: Tensor, padding: int) -> Tensor:
        pieces = [row.repeat_interleave(times) for row, times in zip(rows, repeats, strict=True)]
        return torch.stack([F.pad(piece, (0, longest - len(piece)), value=padding) for piece in pieces])

    text.input_ids = expanded(ids, 0)
    # Rows of the batch grow by different numbers, so from here on some have padding even if none had before.
    mask = text.attention_mask if text.attention_mask is not None else torch.ones_like(ids)
    text.attention_mask = expanded(mask, 0)
    if text.labels is not None:
        text.labels = expanded(text.labels, IGNORE_INDEX)


def seg_state_positions(
    input_ids: Tensor, labels: Tensor, seg_token_id: int, position: Literal["before", "at"] = "before"
) -> tuple[Tensor, Tensor]:
    """Row and column of the state that is the mask prompt of each labelled `[SEG]`.

    Literal: in `the <p> mug </p> [SEG] (IMAGE1)` that is the state at `</p>` (`before`: the one that predicts
    `[SEG]`) or the one at `[SEG]` itself (`at`).

    Args:
        input_ids: `[B, L]`.
        labels: `[B, L]`; a `[SEG]` without a label (history, user text) asks for no mask.
        seg_token_id: id of `[SEG]`.
        position: a property of the family, see `segue.models.seg_prompts.PromptState`.

    Returns:
        Two `[K]` index tensors, by conversation and then by position.

    Source: GLaMM's and LISA's code (before), OMG-LLaVA's and Sa2VA's (at); architecture rule 3.
    """
    rows, columns = torch.nonzero((input_ids == seg_token_id) & (labels == seg_token_id), as_tuple=True)
    # Column 0 is never labelled, because a prompt stands before every answer: there is no column -1.
    return rows, columns - 1 if position == "before" else columns


def check_seg_count(num_seg: int, num_masks: int, num_indices: int) -> None:
    """Raise `AlignmentError` unless `[SEG]` tokens, masks and image indices are equally many."""
    if not num_seg == num_masks == num_indices:
        raise AlignmentError(
            "[SEG] tokens and masks do not match",
            expected=f"{num_seg} masks and image indices",
            found=f"{num_masks} masks, {num_indices} image indices",
            where="forward",
            fix="give one mask per [SEG] of the answers, in text order",
        )


def check_image_indices(seg_image_index: Tensor, num_images: int) -> None:
    """Raise `AlignmentError` when one of `[K]` masks is addressed to an image that is not in the batch."""
    if seg_image_index.numel() and not (
        int(seg_image_index.min()) >= 0 and int(seg_image_index.max()) < num_images
    ):
        raise AlignmentError(
            "a mask names an image that is not there",
            expected=f"indices 0..{num_images - 1}",
            found=f"{seg_image_index.tolist()}",
            where="forward",
            fix="address images of this batch, counted over all its conversations",
        )


def check_image_masks(image_index: int, num_seg: int, num_masks: int) -> None:
    """Raise `AlignmentError` unless an image has as many masks as `[SEG]` tokens that address it."""
    if num_seg != num_masks:
        raise AlignmentError(
            "[SEG] tokens and masks of an image do not match",
            expected=f"{num_seg} masks, one per [SEG] that addresses it",
            found=f"{num_masks} masks",
            where=f"mask_labels[{image_index}]",
            fix="group the masks by image, in text order within each image",
        )
