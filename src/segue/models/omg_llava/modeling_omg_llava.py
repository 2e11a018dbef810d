"""OMG-LLaVA: cells and found objects as visual tokens, `[SEG]` as a query of the mask decoder.

picture -> trunk -> pixel decoder -> 300 queries -> prior -> 256 pixel tokens, a separator, N object tokens
                         |                                                        |
                         +-- memories, mask features -> mask decoder <-- [SEG] -- language model
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.mask2former.modeling_mask2former import Mask2FormerMaskedAttentionDecoder

from segue.errors import AlignmentError
from segue.models.dense_features import SEGMENTER_STREAM, DenseMap, patch_map
from segue.models.gradients import gradients_of
from segue.models.mask_objective import MaskLabels
from segue.models.modeling_grounded import GroundedModel
from segue.models.omg_llava.configuration_omg_llava import OmgLlavaConfig
from segue.models.omg_llava.perception import LAST_STAGE, Perception
from segue.models.omg_llava.prior import ObjectProjection, cells_of, prior, shares
from segue.models.omg_llava.segmenter_omg import QueryDecoderSegmenter
from segue.models.omg_llava.square_masks import square_masks
from segue.models.omg_llava.visual_prompts import VisualPrompts, prompt_queries
from segue.models.point_loss import point_losses, uncertain_points
from segue.models.seg_prompts import PromptState
from segue.models.segmenter import MaskPrompts, SegmenterFeatures
from segue.models.splice import TextInputs, check_image_masks
from segue.models.visual_tokens import VisualTokens


class PromptReader(nn.Module):
    """Queries of marked things to tokens, by the projection of found objects; it has no weights.

    Args:
        model: whose projection is used.

    Source: OMG-LLaVA's code (visual prompts).
    """

    def __init__(self, model: OmgLlavaModel) -> None:
        super().__init__()
        self._model = (model,)  # in a tuple, so that it does not become a part of its own part

    def forward(self, queries: Tensor) -> Tensor:
        """`[R, 2C]` to `[R, D]`."""
        projection = self._model[0].image_projection
        tokens: Tensor = projection.objects(queries.to(projection.separator.weight.dtype))
        return tokens


class OmgLlavaModel(GroundedModel):
    """OMG-LLaVA for grounded conversations over one or more pictures.

    Source: OMG-LLaVA's paper and code; several pictures as in PRIMA section 5 (an identifier after every
    `[SEG]`).
    """

    config_class = OmgLlavaConfig
    prompt_state = PromptState(position="at")
    seg_activation = nn.GELU
    # A picture has as many object tokens as queries that found something in it.
    expands_placeholders = True
    encodes_together = True
    counts_on_shapes = True
    images_read_together = False
    # Thresholds of masks decide what is attended to: half precision would decide otherwise at their edges.
    _keep_in_fp32_modules_strict = ["perception", "mask_decoder"]
    # The trunk is a part of the perception; it stands first as the one that is called as a module.
    encoder_parts = ("perception.backbone", "perception")

    def __init__(self, config: OmgLlavaConfig) -> None:
        super().__init__(config)
        self.image_projection = ObjectProjection(config.perception_config, config.text_config.hidden_size)
        # Regions are read as the published weights read what a user marked.
        self.region_reader = PromptReader(self)  # type: ignore[assignment]
        # Last: it initialises the parts that exist by then.
        self.post_init()

    def add_segmenter(self, config: Any) -> None:
        """OMG-Seg, and a copy of its decoder that draws the `[SEG]`.

        The published general weights draw with OMG-Seg's own; those fine-tuned for one task have a copy. Here
        it is always one, equal at first: what it learns does not change which objects are seen.
        """
        self.perception = Perception(config.perception_config)
        self.mask_decoder = Mask2FormerMaskedAttentionDecoder(config.perception_config)

    @property
    def segmenter(self) -> QueryDecoderSegmenter:
        """OMG-Seg's query decoder."""
        return QueryDecoderSegmenter(self.perception, self.mask_decoder)

    # ---- pictures to visual tokens -----------------------------------------------------------------------

    def encode(self, streams: dict[str, Tensor]) -> tuple[dict[str, Tensor], SegmenterFeatures]:
        """Pictures `[N, 3, S, S]` are looked at once, for words and for masks.

        Returns:
            `cell_features` `[N, P, C]` with their prior, `query_features` `[N, Q, 2D]`, `winner_features`
            `[N, Q]` bool; and the segmenter's.
        """
        perception, config = self.perception, self.config.perception_config
        with gradients_of(perception):
            maps = self.segmenter.encode(streams["pixel_values_sam"])
            objects = perception.objects(maps)
            positions = perception.transformer_module.queries_embedder.weight
            queries = torch.cat([objects.queries, positions.expand_as(objects.queries)], dim=-1)
            size = config.backbone_config.image_size
            mixed, winners = prior(shares(objects, size, config.cells_per_side), queries)
            cells = torch.cat([cells_of(maps.pop(LAST_STAGE), config.shuffle), mixed], dim=-1)
        features = {"cell_features": cells, "query_features": queries, "winner_features": winners.any(-1)}
        return features, maps

    def encode_images(
        self,
        num_images: list[int],
        cell_features: Tensor | None = None,
        query_features: Tensor | None = None,
        winner_features: Tensor | None = None,
        pixel_values_sam: Tensor | None = None,
        **_: Any,
    ) -> VisualTokens:
        """Pictures to visual tokens: pixel tokens, a separator, object tokens.

        Args:
            num_images: B counts that sum to N.
            cell_features, query_features, winner_features: see `encode`.
            pixel_values_sam: `[N, 3, S, S]` in their place.

        Returns:
            `[N, P + 1 + most, D]`; padding is masked.
        """
        if cell_features is None and pixel_values_sam is not None:
            features, _maps = self.encode({"pixel_values_sam": pixel_values_sam})
            return self.encode_images(num_images, **features)
        if cell_features is None or query_features is None or winner_features is None:
            raise AlignmentError(
                "no images",
                expected="pixel_values_sam, or cell_features, query_features and winner_features",
                found="none of them" if cell_features is None else "not all features",
                where="encode_images",
                fix="pass what the processor returns",
            )
        place = self.image_projection.separator.weight.dtype
        tokens, mask = self.image_projection(
            cell_features.to(place), query_features.to(place), winner_features
        )
        return VisualTokens(tokens, mask, cell_features)

    def dense_maps(self, visual: dict[str, Tensor], drawable: SegmenterFeatures) -> list[DenseMap]:
        """The cells that become pixel tokens, objects' features mixed in."""
        return [DenseMap(patch_map(visual["cell_features"][0]), SEGMENTER_STREAM)]

    # ---- what a user marked ------------------------------------------------------------------------------

    def prompt_tokens(self, features: SegmenterFeatures, prompts: VisualPrompts) -> Tensor:
        """Points, boxes and masks that a user marked, as visual tokens `[K, D]` for `<mark>` and `<region>`.

        Args:
            features: of the segmenter, N pictures.
            prompts: K of them, in pixels of the square.
        """
        queries = prompt_queries(self.perception, features, prompts)
        tokens: Tensor = self.image_projection.objects(
            queries.to(self.image_projection.separator.weight.dtype)
        )
        return tokens

    def switch_region_tokens(self, region_token_id: int, region_tokens: bool = True) -> None:
        """Nothing: regions are a part of the weights, and `<region>` is one of their tokens."""

    @property
    def region_width(self) -> int:
        """Numbers of a query with its position."""
        return 2 * int(self.perception.transformer_module.queries_embedder.weight.shape[1])

    @torch.no_grad()
    def pool_regions(self, visual: dict[str, Tensor], drawable: SegmenterFeatures, grids: Tensor) -> Tensor:
        """Queries `[R, 2C]` of regions of one image, as of masks that a user marked: `prompt_queries`."""
        size = self.config.perception_config.backbone_config.image_size
        masks = F.interpolate(grids[:, None].float(), size=(size, size), mode="bilinear")[:, 0]
        # What is thinner than the grid's cells is where it covers most.
        masks = (masks > 0.5 * masks.amax((1, 2), keepdim=True)).float()
        prompts = VisualPrompts(torch.zeros(len(masks), dtype=torch.long), masks=masks)
        return prompt_queries(self.perception, drawable, prompts)

    def look_up(self, input_ids: Tensor, region_features: Tensor | None = None) -> Tensor:
        """Words to embeddings; `<mark>` lies beyond the vocabulary too; `<region>` may wait for `embed`."""
        unmarked = input_ids.masked_fill(input_ids == self.config.mark_token_id, 0)
        if region_features is None:
            unmarked = unmarked.masked_fill(unmarked == self.config.region_token_id, 0)
        return super().look_up(unmarked, region_features)

    def embed(
        self, text: TextInputs, num_images: list[int], prompt_tokens: Tensor | None = None, **streams: Any
    ) -> tuple[Tensor, VisualTokens]:
        """As in other families, with prompt tokens `[K, D]` at `<mark>` and `<region>` in order.

        Raises:
            AlignmentError: There are more or fewer of them than places.
        """
        embeds, visual = super().embed(text, num_images, **streams)
        places = text.input_ids == self.config.mark_token_id
        if prompt_tokens is not None:
            places = places | (text.input_ids == self.config.region_token_id)
        found = 0 if prompt_tokens is None else len(prompt_tokens)
        if int(places.sum()) != found:
            raise AlignmentError(
                "marks in the text and visual prompts do not match",
                expected=f"{int(places.sum())} visual prompts, one per <mark> or <region>",
                found=str(found),
                where="prompt_tokens",
                fix="give what `OmgLlavaModel.prompt_tokens` makes of every mark, in text order",
            )
        if prompt_tokens is not None:
            embeds = embeds.masked_scatter(places[..., None], prompt_tokens.to(embeds.dtype))
        return embeds, visual

    # ---- masks -------------------------------------------------------------------------------------------

    def draw_rounds(
        self, features: SegmenterFeatures, seg_prompts: Tensor, image_index: Tensor, phrases: list[Tensor]
    ) -> Tensor:
        """Mask logits `[R, K, h, w]` before the first layer and behind each."""
        return self.segmenter.predictions(features, MaskPrompts(seg_prompts, image_index))

    def mask_terms(self, rounds: Tensor, labels: MaskLabels) -> dict[str, Tensor]:
        """Dice and cross-entropy of `[R, K, h, w]` logits at sampled points, summed over the rounds.

        Source: OMG-LLaVA's code: the mean over the masks of the batch, whose number it makes a little larger
        for Dice alone; 0.1 * 5 and 0.4 * 5 are the configuration's weights.
        """
        zero = self.no_mask_loss(rounds)
        dice, pixel, count = zero, zero, 0
        for index, masks in enumerate(labels.masks or []):
            chosen = labels.image_index == index
            check_image_masks(index, int(chosen.sum()), len(masks))
            if len(masks) == 0:
                continue
            targets = square_masks(masks, self.segmenter.input_size)
            for logits in rounds[:, chosen].float():
                losses = point_losses(logits, targets, uncertain_points(logits, self.config.num_points))
                dice, pixel = dice + losses[0].sum(), pixel + losses[1].sum()
            count += len(masks)
        number = count if labels.total is None else labels.total
        return {"dice": dice / (number + 1e-4), "pixel": pixel / max(number, 1)}
