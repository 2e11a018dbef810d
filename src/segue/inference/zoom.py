"""A mask looked at again: decoded once more in a crop around it, which the segmenter sees at its full size.

A part that covers a thousandth of a large picture has a few cells of the segmenter's square. In a crop around
it it has hundreds; the first mask, made soft, says there where it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from segue import masks
from segue.images import content_hash
from segue.inference.answer import SessionAnswer
from segue.inference.image_encoder import SEGMENTER_STREAM, ImageEncoder
from segue.inference.matching import MatchAnswer, full_size
from segue.masks import Mask
from segue.models.auto import ModelBundle
from segue.models.dense_features import onto_square
from segue.models.segmenter import HeatSegmenter

Answer = TypeVar("Answer", bound=SessionAnswer)

MARGIN = 0.75
"""What is seen around a mask's box, on each side, as a fraction of the box's longer side."""

LARGEST = 0.35
"""A mask whose crop covers more of the picture than this gains nothing by another look."""

LEAST_AGREEMENT = 0.3
"""IoU with the first mask below which the second look found something else, and the first one stays."""

SOFTNESS = 48
"""Cells of the first mask along the crop: as coarse as heat is, its border says nothing for certain."""


def zoom(
    bundle: ModelBundle, encoder: ImageEncoder, picture: Image.Image, mask: Mask
) -> tuple[Mask, float] | None:
    """Decode a mask again in a crop around it.

    Args:
        bundle: Whose segmenter draws.
        encoder: Of the bundle.
        picture: RGB.
        mask: Bool `[height, width]` of the picture.

    Returns:
        The mask at the picture's size and its mean probability; None where another look brings nothing: an
        empty mask, one that fills much of the picture, a segmenter that takes no heat, or one that draws
        something else in the crop.

    Source: paper silent; ours.
    """
    # An agent draws elsewhere, from boxes.
    segmenter = getattr(bundle.model, "segmenter", None)
    window = window_around(mask)
    if window is None or not isinstance(segmenter, HeatSegmenter) or not bundle.model.takes_visual_prompts:
        return None
    left, top, right, bottom = window
    crop = picture.crop(window)
    hw = (crop.height, crop.width)
    before = mask[top:bottom, left:right]
    drawable = encoder.drawable(crop, content_hash(crop)).drawable
    scale = SOFTNESS / max(hw)
    grid = (max(1, round(hw[0] * scale)), max(1, round(hw[1] * scale)))
    soft = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(before)[None].float(), grid)[0]
    soft = soft / soft.amax().clamp(min=1e-6)
    stream, device = bundle.processor.streams[SEGMENTER_STREAM], bundle.model.device
    heat = onto_square(soft, stream, hw, segmenter.heat_grid)[None].to(device)
    with torch.no_grad():
        logits = segmenter.draw_heat(drawable, heat, torch.zeros(1, dtype=torch.long, device=device))
    found, score = full_size(bundle, logits, hw)
    if masks.iou(found, before) < LEAST_AGREEMENT:
        return None
    whole = np.zeros_like(mask)
    whole[top:bottom, left:right] = found
    return whole, score


def zoomed(bundle: ModelBundle, encoder: ImageEncoder, answer: Answer) -> Answer:
    """An answer whose masks were looked at again, those that `zoom` finds more in; notes say how many.

    Args:
        bundle, encoder: see `zoom`.
        answer: Of a session or of `LoadedModel.match`, whose mark stays what the user marked; left as it is.
    """
    groundings, changed = list(answer.groundings), 0
    for place in range(1 if isinstance(answer, MatchAnswer) else 0, len(groundings)):
        grounding = groundings[place]
        found = zoom(bundle, encoder, answer.pictures[grounding.image_index], grounding.mask)
        if found is not None:
            mask, score = found
            groundings[place] = replace(grounding, mask=mask, score=score, box=masks.box(mask))
            changed += 1
    note = f"{changed} of {len(groundings)} masks were drawn again, in a crop around them"
    found_there: dict[str, Any] = (
        {"matches": answer.drawn_as(groundings)} if isinstance(answer, MatchAnswer) else {}
    )
    return replace(answer, groundings=groundings, notes=[*answer.notes, note], **found_there)


def window_around(mask: Mask) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of the crop around a mask; None where it would be most of the picture."""
    x, y, width, height = masks.box(mask)
    if not width:
        return None
    margin = MARGIN * max(width, height)
    rows, columns = mask.shape
    left, top = max(0, int(x - margin)), max(0, int(y - margin))
    right, bottom = min(columns, round(x + width + margin)), min(rows, round(y + height + margin))
    if (right - left) * (bottom - top) > LARGEST * rows * columns:
        return None
    return left, top, right, bottom
