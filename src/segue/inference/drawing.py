"""Masks of placed `[SEG]`, all masks of one image in one decoder call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segue import masks
from segue.errors import AlignmentError
from segue.masks import Mask
from segue.models.auto import ModelBundle
from segue.models.segmenter import SegmenterFeatures, join_features
from segue.protocol import ParsedAnswer, ParsedGrounding
from segue.records import Grounding
from segue.records.presence import presence_of


@dataclass(frozen=True)
class Wanted:
    """A mask to draw.

    Attributes:
        placed: The `[SEG]`, with its image and phrase.
        prompt: `[C]`.
        phrase: `[L]` token ids.
        image: Number of its image among those that are drawn in.
        confidence: Of the language model in it, see `segue.models.text_confidence`.
    """

    placed: ParsedGrounding
    prompt: Tensor
    phrase: Tensor
    image: int
    confidence: float | None = None


def draw(
    bundle: ModelBundle,
    wanted: Sequence[Wanted],
    features: Sequence[SegmenterFeatures],
    image_hws: Sequence[tuple[int, int]],
) -> list[Grounding]:
    """Draw masks of one answer or of many.

    Args:
        bundle: The model and its processor.
        wanted: K masks, one or more.
        features: Of N images, each of a single one.
        image_hws: N sizes of the photographs.

    Returns:
        K groundings, masks at the photographs' sizes.
    """
    model, processor = bundle.model, bundle.processor
    index = [mask.image for mask in wanted]
    with torch.no_grad():
        logits = model.draw_masks(
            join_features(list(features)),
            torch.stack([mask.prompt for mask in wanted]),
            torch.tensor(index, device=model.device),
            [mask.phrase for mask in wanted],
        )
    resized = [processor.sam_stream.resized_hw(hw) for hw in image_hws]
    drawn = processor.post_process_masks(logits, index, torch.tensor(image_hws), torch.tensor(resized))
    return [
        Grounding(
            asked.placed.phrase,
            asked.placed.span,
            asked.placed.image_index,
            mask,
            score,
            masks.box(mask),
            presence_of(score, asked.confidence, bundle.calibration),
        )
        for asked, (mask, score) in zip(wanted, drawn, strict=True)
    ]


def given_groundings(parsed: ParsedAnswer, seg_masks: Sequence[Mask]) -> list[Grounding]:
    """Groundings of an answer that was not drawn but given with its masks; nothing says how sure they are.

    Args:
        parsed: The answer.
        seg_masks: One for each of its `[SEG]`, bool `[height, width]` of the image that it lies in.

    Raises:
        AlignmentError: There are more or fewer masks than `[SEG]`.
    """
    if len(seg_masks) != parsed.num_segs:
        raise AlignmentError(
            "The [SEG] of a given answer and its masks do not match.",
            expected=f"{parsed.num_segs} masks, one per [SEG]",
            found=str(len(seg_masks)),
            where=f"answer {parsed.text[:60]!r}",
            fix="give a mask for every [SEG], in order",
        )
    return [
        Grounding(g.phrase, g.span, g.image_index, mask, 1.0 if mask.any() else 0.0, masks.box(mask))
        for g in parsed.groundings
        for mask in [seg_masks[g.seg_ordinal]]
    ]
