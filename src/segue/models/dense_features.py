"""Dense features of one picture: what an encoder says of every place, brought from its square to the picture.

A family says which maps it has (`GroundedModel.dense_maps`); where in the picture a map's cells lie follows
from the processor's image stream, so that neither families nor callers handle padding, crops or strips.

Legend: C channels, h w cells of a map, H W pixels of the picture, S side of a stream's square.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segue.errors import ModelError
from segue.models.image_streams import ImageStream
from segue.models.segmenter import SegmenterFeatures
from segue.models.segmenter_sam import EMBEDDINGS

SEGMENTER_STREAM = "pixel_values_sam"


@dataclass(frozen=True)
class DenseMap:
    """Features of a picture on the cells of one stream's square.

    Attributes:
        features: `[C, h, w]`.
        stream: Name of the processor's stream that was seen.
        weight: How much it counts among a family's maps.
    """

    features: Tensor
    stream: str
    weight: float = 1.0


def default_maps(visual: Mapping[str, Tensor], drawable: SegmenterFeatures) -> list[DenseMap]:
    """The map of a family that does not choose: the second encoder's, else the first's, else SAM's.

    The second encoder is the one for places (DINOv2, ConvNeXt) where a family has two.

    Args:
        visual: `[1, ...]` of `encode_features`.
        drawable: `[1, ...]` of the segmenter.

    Raises:
        ModelError: None of them is a map.

    Source: paper silent; ours.
    """
    for name, stream in (("aux_features", "pixel_values_aux"), ("vision_features", "pixel_values")):
        if name in visual and visual[name].ndim in (3, 4):
            found = visual[name][0]
            return [DenseMap(patch_map(found) if found.ndim == 2 else found, stream)]
    if EMBEDDINGS in drawable:
        return [DenseMap(drawable[EMBEDDINGS][0], SEGMENTER_STREAM)]
    raise ModelError(
        "This model has no dense features.",
        expected="patch features of an encoder, or embeddings of a segmenter",
        found=", ".join([*visual, *drawable]) or "nothing",
        where="dense_maps",
        fix="let the family fill `dense_maps`",
    )


def default_width(config: Any) -> int:
    """Channels of `default_maps`, by a family's configuration."""
    aux = getattr(config, "aux_vision_config", None) if getattr(config, "aux_vision", True) else None
    chosen = aux if aux is not None else getattr(config, "vision_config", None)
    if chosen is None:
        return int(config.sam_config.mask_decoder_config.hidden_size)
    stages = getattr(chosen, "hidden_sizes", None)
    return int(sum(stages) if stages else chosen.hidden_size)


def patch_map(patches: Tensor) -> Tensor:
    """Patches `[L, C]` of a square to `[C, g, g]`; class and register tokens, which come first, are cut off.

    1 class token, 4 registers and 16 x 16 patches are 261: the last 256 are taken.
    """
    side = isqrt(len(patches))
    return patches[-side * side :].T.reshape(-1, side, side)


def over_picture(found: DenseMap, stream: Any, hw: tuple[int, int]) -> Tensor:
    """A map on cells that cover the picture and nothing else, `[C, h, w]`; zero where the encoder saw none.

    Args:
        found: Of the family.
        stream: Of the processor; one without a square (patches of any ratio) covers the picture already.
        hw: Height and width of the picture in pixels.
    """
    if not isinstance(stream, ImageStream):
        return found.features
    top, left, height, width = inside_square(stream, hw)
    rows, columns = found.features.shape[-2:]
    wanted = (max(1, round(rows * height / stream.size)), max(1, round(columns * width / stream.size)))
    ys = top + (torch.arange(wanted[0]) + 0.5) * height / wanted[0]
    xs = left + (torch.arange(wanted[1]) + 0.5) * width / wanted[1]
    return _sample(found.features, ys / stream.size, xs / stream.size)


def onto_square(values: Tensor, stream: ImageStream, hw: tuple[int, int], grid: int) -> Tensor:
    """Values over the picture `[h, w]` on the cells of a stream's square, `[grid, grid]`; zero beside it."""
    top, left, height, width = inside_square(stream, hw)
    middles = (torch.arange(grid) + 0.5) * stream.size / grid
    found = _sample(values[None], (middles - top) / height, (middles - left) / width)[0]
    inside = ((middles > top) & (middles < top + height))[:, None] & (
        (middles > left) & (middles < left + width)
    )
    return found * inside.to(found)


def inside_square(stream: ImageStream, hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, left, height and width of a picture in a stream's square; beyond it where the stream crops."""
    height, width = stream.resized_hw(hw)
    if stream.fit not in ("crop", "letterbox"):
        return 0, 0, height, width
    return (stream.size - height) // 2, (stream.size - width) // 2, height, width


def _sample(features: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
    """`[C, h, w]` at fractions of its height and width, bilinear: `[C, len(ys), len(xs)]`."""
    grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1).to(features) * 2 - 1
    beyond = (grid.abs() > 1).any(-1)
    # "border": a cell at the rim keeps its length; what lies beyond is set to zero below.
    found = F.grid_sample(features[None], grid[None], padding_mode="border", align_corners=False)[0]
    return found.masked_fill(beyond, 0)
