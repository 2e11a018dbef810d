"""Questions that speak of regions: how a model pools, reads and puts the tokens of `<region>`.

The part of `GroundedModel` that has to do with marks; what a region's token is: `segue.models.region_tokens`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from segue.models.dense_features import DenseMap, default_width
from segue.models.region_tokens import RegionReader, pool, put_tokens
from segue.models.seg_prompts import SegProjection
from segue.models.segmenter import SegmenterFeatures

if TYPE_CHECKING:
    from torch import nn


class RegionReading:
    """Mixin of a model whose questions may speak of regions: `region_reader` is there while they may."""

    config: Any
    seg_projection: SegProjection
    region_reader: RegionReader | None

    if TYPE_CHECKING:
        # What the model brings to it.
        def dense_maps(self, visual: dict[str, Tensor], drawable: SegmenterFeatures) -> list[DenseMap]: ...
        def encode_features(self, **streams: Tensor) -> dict[str, Tensor]: ...
        def get_input_embeddings(self) -> nn.Module: ...

    @property
    def region_width(self) -> int:
        """Channels of all `dense_maps`, which regions are pooled from."""
        return default_width(self.config)

    def switch_region_tokens(self, region_token_id: int, region_tokens: bool = True) -> None:
        """Let questions speak of regions, or no more, after the model was made.

        Args:
            region_token_id: id of `<region>`, see `segue.models.region_tokens.switch_region_tokens`.
            region_tokens: on; the reader is new.
        """
        self.config.region_tokens, self.config.region_token_id = region_tokens, region_token_id
        self.region_reader = None
        if region_tokens:
            place = next(self.seg_projection.parameters())
            width = int(self.config.text_config.hidden_size)
            self.region_reader = RegionReader(self.region_width, width).to(place.device, place.dtype)

    def features_of(self, features: dict[str, Tensor], index: int) -> dict[str, Tensor]:
        """What `encode_features` gave for one of N images, `[1, ...]` each."""
        return {name: value[index : index + 1] for name, value in features.items()}

    def pool_regions(self, visual: dict[str, Tensor], drawable: SegmenterFeatures, grids: Tensor) -> Tensor:
        """Features `[R, C]` of regions of one image, before the reader; without gradient.

        Args:
            visual, drawable: of the image, see `dense_maps`.
            grids: `[R, G, G]` of `segue.models.region_tokens.region_grid`.
        """
        with torch.no_grad():
            return pool(self.dense_maps(visual, drawable), grids)

    def region_features(
        self,
        streams: dict[str, Any],
        drawable: SegmenterFeatures | None,
        grids: Tensor,
        image_index: Tensor,
    ) -> dict[str, Any]:
        """Streams with the features `[R, C]` of a batch's regions, in the order of their placeholders.

        Args:
            streams: pixels, or features in their place; pixels are encoded here, once for both uses.
            drawable: the segmenter's features of the N images, for families whose maps are of them.
            grids: `[R, G, G]`.
            image_index: `[R]`, counted over the batch.
        """
        pixels = {n: v for n, v in streams.items() if n.startswith(("pixel_values", "image_grid"))}
        features = {n: v for n, v in streams.items() if n.endswith("_features")}
        if not features and pixels:
            features = self.encode_features(**pixels)
            streams = {n: v for n, v in streams.items() if n not in pixels} | features
        shown = features | {n: v for n, v in pixels.items() if n.startswith("image_grid")}
        rows = []
        for grid, index in zip(grids, image_index.tolist(), strict=True):
            kept = {} if drawable is None else {n: v[index : index + 1] for n, v in drawable.items()}
            rows.append(self.pool_regions(self.features_of(shown, index), kept, grid[None]))
        width = (0, self.region_width)
        return streams | {"region_features": torch.cat(rows) if rows else grids.new_zeros(width)}

    def look_up(self, input_ids: Tensor, region_features: Tensor | None = None) -> Tensor:
        """Words `[B, L]` to embeddings `[B, L, D]`; at images, which are filled later, anything.

        Args:
            region_features: `[R, C]` of the regions among the words, in order.
        """
        # The placeholder may lie beyond the vocabulary (LISA, GLaMM): the model can then never write it.
        placeholders = input_ids == self.config.image_token_id
        if self.region_reader is None:
            found: Tensor = self.get_input_embeddings()(input_ids.masked_fill(placeholders, 0))
            return found
        placeholders = placeholders | (input_ids == self.config.region_token_id)
        words = self.get_input_embeddings()(input_ids.masked_fill(placeholders, 0))
        given = words.new_zeros(0, self.region_width) if region_features is None else region_features
        # Read even where there is none: in DDP a reader without a gradient lets the others wait forever.
        return put_tokens(words, input_ids, self.config.region_token_id, self.region_reader(given))
