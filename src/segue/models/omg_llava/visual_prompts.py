"""Points, boxes and masks that a user marked, as queries of the perception: "what is this, there?".

Legend: K prompts, S the side of the square, C width of a query, L places of a level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from segue.errors import AlignmentError
from segue.models.omg_llava.perception import Perception
from segue.models.omg_llava.segmenter_omg import Steering, decode_alone, looking
from segue.models.segmenter import SegmenterFeatures

OUTSIDE = -100.0
"""Added to the attention's logits outside a box. Source: OMG-LLaVA's code."""

_EPS = 1e-5
"""Coordinates keep this distance from 0 and 1. Source: OMG-LLaVA's code (`inverse_sigmoid`)."""


_SMOOTHNESS = 0.35
"""Of the distance in `innermost`. Source: kornia's default."""


@dataclass(frozen=True)
class VisualPrompts:
    """K marks of one kind. The other two kinds are None.

    Attributes:
        image_index: `[K]` in 0..N-1.
        points: `[K, 2]` x and y in pixels of the square.
        boxes: `[K, 4]` left, top, right and bottom, likewise.
        masks: `[K, S, S]`, 0 or 1.

    Raises:
        AlignmentError: There is not exactly one kind, or its number is not that of the indices.
    """

    image_index: Tensor
    points: Tensor | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        given = [kind for kind in (self.points, self.boxes, self.masks) if kind is not None]
        if len(given) != 1 or len(given[0]) != len(self.image_index):
            raise AlignmentError(
                "visual prompts and image indices do not match",
                expected=f"{len(self.image_index)} points, boxes or masks",
                found=" and ".join(str(len(kind)) for kind in given) or "none",
                where="VisualPrompts",
                fix="give one kind a call, and address every prompt",
            )


def prompt_queries(perception: Perception, features: SegmenterFeatures, prompts: VisualPrompts) -> Tensor:
    """Queries with their positions `[K, 2C]` behind all layers.

    A point looks where its own masks are; a box likewise, but not outside of it; a mask at itself alone.

    Args:
        perception: its own decoder, not the one that draws `[SEG]`.
        features: `maps` of N pictures.
        prompts: K of them.

    Source: OMG-LLaVA's code (visual prompts).
    """
    size = perception.config.backbone_config.image_size
    queries = starting_queries(perception, _centres(prompts, size))
    found = torch.zeros_like(queries)
    for index in prompts.image_index.unique().tolist():
        members = torch.nonzero(prompts.image_index == index)[:, 0]
        picture = looking(perception, features, index)
        steering = None
        if prompts.boxes is not None:
            steering = Steering(tuple(_outside_boxes(prompts.boxes[members], size, s) for s in picture.sizes))
        elif prompts.masks is not None:
            steering = Steering(tuple(_outside_masks(prompts.masks[members], s) for s in picture.sizes))
        states, _ = decode_alone(perception.transformer_module.decoder, picture, queries[members], steering)
        found[members] = torch.cat([states, queries[members, states.shape[1] :]], dim=-1).to(found.dtype)
    return found


def starting_queries(perception: Perception, centres: Tensor) -> Tensor:
    """Queries `[K, 2C]` at points `[K, 2]` (x, y in 0..1 of the square): what they are, and where.

    Source: OMG-LLaVA's code: a point is a small box, its four numbers (y, x, width, height) a sine code each.
    """
    config = perception.config
    half = config.point_half_width / config.backbone_config.image_size
    boxes = torch.cat([centres, torch.full_like(centres, 2 * half)], dim=-1)
    # There and back through the sigmoid's inverse, which keeps 0 and 1 at a distance.
    clamped = boxes.clamp(0, 1)
    boxes = torch.log(clamped.clamp(min=_EPS) / (1 - clamped).clamp(min=_EPS)).sigmoid()
    position = perception.prompt_position(sine_code(boxes[:, [1, 0, 2, 3]], config.hidden_dim // 2))
    feature = perception.prompt_kind.weight[0] + perception.prompt_feature.weight[0]
    return torch.cat([feature.expand_as(position), position], dim=-1)


def sine_code(numbers: Tensor, features: int) -> Tensor:
    """Numbers `[K, n]` in 0..1 to `[K, n * features]`, sine and cosine in turn, wavelengths up to 10000."""
    steps = torch.arange(features, device=numbers.device)
    waves = 10000.0 ** (2 * torch.div(steps, 2, rounding_mode="floor") / features)
    angles = (numbers * 2 * math.pi)[..., None] / waves
    return torch.stack([angles[..., 0::2].sin(), angles[..., 1::2].cos()], dim=-1).flatten(1)


def _centres(prompts: VisualPrompts, size: int) -> Tensor:
    if prompts.points is not None:
        return prompts.points.float() / size
    if prompts.boxes is not None:
        boxes = prompts.boxes.float()
        return (boxes[:, :2] + boxes[:, 2:]) / 2 / size
    assert prompts.masks is not None
    places = [innermost(mask) for mask in prompts.masks > 0]
    return torch.tensor(places, device=prompts.masks.device).float() / size


def innermost(mask: Tensor) -> tuple[int, int]:
    """The pixel (x, y) of a mask `[H, W]` that lies farthest from its border; (0, 0) of an empty one.

    Source: OMG-LLaVA's code with kornia's `distance_transform` (Pham et al., convolutional distance
    transform): smooth, so that an exact distance would pick another one of many pixels.
    """
    rows, columns = torch.nonzero(mask).T
    if len(rows) == 0:
        return 0, 0
    top, left = int(rows.min()), int(columns.min())
    # Alone with a ring of background: what lies outside of it is not asked.
    inside = mask[top : int(rows.max()) + 1, left : int(columns.max()) + 1].float()
    reached = 1 - F.pad(inside, (1, 1, 1, 1))[None, None]
    steps = torch.arange(-1.0, 2.0, device=mask.device)
    kernel = torch.exp(-torch.hypot(steps[:, None], steps) / _SMOOTHNESS)[None, None]
    distance = torch.zeros_like(reached)
    for ring in range(max(reached.shape[-2:])):
        # What the rings so far lend to their neighbours; its logarithm is the distance to the nearest of
        # them.
        lent = F.conv2d(F.pad(reached, (1, 1, 1, 1), mode="replicate"), kernel)
        near = torch.nan_to_num(-_SMOOTHNESS * lent.log(), posinf=0.0)
        new = near > 0
        if not bool(new.any()):
            break
        distance += (ring * 3 // 2 + near) * new
        reached = reached.masked_fill(new, 1.0)
    row, column = divmod(int(distance[0, 0, 1:-1, 1:-1].argmax()), inside.shape[1])
    return left + column, top + row


def _outside_boxes(boxes: Tensor, size: int, grid: tuple[int, int]) -> Tensor:
    """Weights `[K, L]`: 0 inside, `OUTSIDE` elsewhere; a box covers every place that it touches."""
    height, width = grid
    left, top, right, bottom = (boxes.float() / size).unbind(-1)
    columns = torch.arange(width, device=boxes.device)
    rows = torch.arange(height, device=boxes.device)
    inside_x = (columns >= (left * width).floor()[:, None]) & (columns < (right * width + 1).floor()[:, None])
    inside_y = (rows >= (top * height).floor()[:, None]) & (rows < (bottom * height + 1).floor()[:, None])
    inside = inside_y[:, :, None] & inside_x[:, None]
    return torch.where(inside, 0.0, OUTSIDE).flatten(1)


def _outside_masks(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """Places `[K, L]` bool that are not looked at."""
    return F.interpolate(masks.float()[:, None], grid, mode="nearest").flatten(1) == 0
