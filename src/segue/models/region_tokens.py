"""Regions as words: features of the frozen encoder, pooled under a mask, become one token of a question.

    Find this <region> (IMAGE1) in the other images.
               ^ reader(mean of the features under the mask)

The placeholder lies beyond the vocabulary, as `<image>` may: the model can never write it. What is pooled
from are `GroundedModel.dense_maps`, so every family has regions by this one mechanism.

Legend: R regions, G side of a mask's grid over a stream's square, C channels of all maps, D width of the
language model, N images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segue import masks
from segue.errors import AlignmentError
from segue.models.dense_features import DenseMap, onto_square
from segue.models.image_streams import ImageStream
from segue.protocol import REGION_TOKEN
from segue.records import Conversation

if TYPE_CHECKING:
    from segue.models.auto import ModelBundle

GRID = 64
"""G: fine enough for the maps of all families, whose cells are 14 pixels or more of at most 1,024."""

DENSE_STREAMS = ("pixel_values_aux", "pixel_values", "pixel_values_sam")
"""Streams by which encoder the dense maps are taken from, the first that a processor has."""


class RegionReader(nn.Module):
    """Pooled features to a token: norm, two linear layers.

    Args:
        width: C.
        text_width: D.

    Source: paper silent; ours. LLaVA-1.5's projector in shape; the norm takes the families' scales away.
    """

    def __init__(self, width: int, text_width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(
            nn.Linear(width, text_width), nn.GELU(), nn.Linear(text_width, text_width)
        )

    def forward(self, pooled: Tensor) -> Tensor:
        """`[R, C]` to `[R, D]`."""
        read: Tensor = self.layers(self.norm(pooled.to(self.norm.weight)))
        return read


def pool(maps: Sequence[DenseMap], grids: Tensor) -> Tensor:
    """Mean features under regions of one image, all maps behind each other: `[R, C]`.

    Args:
        maps: Of the image, on squares of one stream.
        grids: `[R, G, G]`, how much of each cell of that square a region covers.
    """
    pooled = []
    for found in maps:
        covered = F.interpolate(grids[:, None].to(found.features), found.features.shape[-2:], mode="area")
        total = covered.sum((2, 3)).clamp(min=1e-6)
        pooled.append(torch.einsum("chw,rhw->rc", found.features, covered[:, 0]) / total)
    return torch.cat(pooled, dim=1)


def region_grid(processor: Any, mask: Tensor, hw: tuple[int, int]) -> Tensor:
    """A region's mask, bool `[H, W]`, on the square that its features are pooled from: `[G, G]` of 0..1.

    Args:
        processor: The model's; its streams say where the picture lies in the square.
        hw: Of the image.
    """
    name = next(name for name in DENSE_STREAMS if name in processor.streams)
    stream = processor.streams[name]
    small = F.adaptive_avg_pool2d(mask[None].float(), (GRID, GRID))[0]
    if not isinstance(stream, ImageStream):
        return small
    return onto_square(small, stream, hw, GRID)


def record_grids(
    processor: Any, conversation: Conversation, spoken: Sequence[tuple[int, Sequence[str]]]
) -> Tensor:
    """Grids `[R, G, G]` of the regions of a record that its questions speak of, in order.

    Args:
        processor: The model's.
        conversation: The record.
        spoken: For each region, its image (0-based) and the rids whose union it is.

    Raises:
        RecordError: A region has no mask in the file.
    """
    grids = []
    for _, rids in spoken:
        mask = masks.union([masks.decode(conversation.mask_of(rid, "point at")) for rid in rids])
        grids.append(region_grid(processor, torch.from_numpy(mask), (mask.shape[0], mask.shape[1])))
    return torch.stack(grids) if grids else torch.zeros(0, GRID, GRID)


def put_tokens(embeds: Tensor, input_ids: Tensor, region_token_id: int, tokens: Tensor) -> Tensor:
    """Put regions' tokens `[R, D]` where their placeholders stand in `[B, L]`, in order; `[B, L, D]`.

    Raises:
        AlignmentError: There are not as many regions as placeholders.
    """
    places = input_ids == region_token_id
    expected = int(places.sum())
    if expected != len(tokens):
        raise AlignmentError(
            "placeholders and regions do not match",
            expected=f"{expected} regions, one per {REGION_TOKEN}",
            found=str(len(tokens)),
            where="put_tokens",
            fix="give the features of every region that the questions speak of",
        )
    return embeds.masked_scatter(places[..., None], tokens.to(embeds.dtype))


def told_apart(ids: Sequence[int], region_token_id: int, features: Tensor | None) -> list[int]:
    """Ids of a prompt in which regions are numbers of their own, below zero: equal only for equal regions.

    What a cache holds of a conversation is found by ids; two regions share the placeholder's.
    """
    if features is None or not len(features):
        return list(ids)
    digests = iter(hashlib.sha256(row.float().cpu().numpy().tobytes()).digest() for row in features)
    return [
        -1 - int.from_bytes(next(digests)[:6], "big") if token == region_token_id else token for token in ids
    ]


def switch_region_tokens(bundle: ModelBundle, on: bool = True) -> None:
    """Let a model that never saw regions take them (its reader is new and wants training), or no more.

    Args:
        bundle: Changed in place: the tokenizer gets the placeholder, the model its reader.
        on: A model that has a reader keeps its weights.
    """
    model, tokenizer = bundle.model, bundle.processor.tokenizer
    if on and model.region_reader is None:
        tokenizer.add_tokens([REGION_TOKEN], special_tokens=True)
        model.switch_region_tokens(int(tokenizer.convert_tokens_to_ids(REGION_TOKEN)))
    elif not on:
        model.switch_region_tokens(-1, False)
