"""Qwen3-VL behind the seam: its vision tower fills `encode_images`, its language model reads and writes.

Two things differ from other language models. Positions have three axes (time, height, width) and depend on
the pictures' grids: they are computed from the whole prompt in every reading and passed on, because
transformers otherwise keeps an offset in the module itself, where another conversation overwrites it without
an error. And features of three depths of the vision tower (DeepStack) are added to the states of the first
layers at the pictures' places.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, Qwen3VLForConditionalGeneration, Sam2Model

from segue.errors import AlignmentError
from segue.models.configuration_qwen3_vl import Qwen3VLGroundedConfig, Sa2vaConfig
from segue.models.dense_features import DenseMap
from segue.models.gradients import gradients_of
from segue.models.modeling_grounded import GroundedModel
from segue.models.seg_prompts import PromptState
from segue.models.segmenter import SegmenterFeatures
from segue.models.splice import TextInputs
from segue.models.visual_tokens import VisualTokens


class Qwen3VLGroundedModel(GroundedModel):
    """A grounded model whose eyes and words are Qwen3-VL's.

    `language_model` is transformers' own `Qwen3VLForConditionalGeneration` with the names that Qwen's files
    have, its vision tower included: `language_model.` and Qwen's name is the name here.

    Source: Qwen3-VL (vision tower, DeepStack, three-axis positions); the grounding is PRIMA's.
    """

    config_class = Qwen3VLGroundedConfig
    # An image has as many tokens as it is large: one placeholder each in the text, repeated here.
    expands_placeholders = True
    images_read_together = False
    # The last two: what is kept of an image has gone through them, see `Sam2Segmenter.encode`.
    encoder_parts = (
        "language_model.model.visual",
        "sam.vision_encoder",
        "sam.mask_decoder.conv_s0",
        "sam.mask_decoder.conv_s1",
    )

    def __init__(self, config: Qwen3VLGroundedConfig) -> None:
        super().__init__(config)
        self.prompt_state = PromptState(cast(Any, config.prompt_position), cast(Any, config.prompt_norm))
        if isinstance(self.sam, Sam2Model):
            self.segmenter_options = {
                "padding_points": config.padding_points,
                "best_of_three": config.best_of_three,
            }
        self.add_parts(config)
        # Last: it initialises the parts that exist by then.
        self.post_init()

    def add_parts(self, config: Any) -> None:
        """Further parts of a subclass, initialised together with the others. None here."""

    def build_language_model(self, config: Any) -> PreTrainedModel:
        """Qwen3-VL as a whole."""
        return Qwen3VLForConditionalGeneration(config.vlm_config)

    @property
    def text_model(self) -> nn.Module:
        """Qwen3-VL's language model without vision tower and head."""
        body: nn.Module = self.language_model.model.language_model
        return body

    def encode_features(self, **streams: Tensor) -> dict[str, Tensor]:
        """Features of N images from their patches `[P, C]`; without gradient while the tower is frozen.

        Returns:
            `vision_features` `[T, 1 + K, D]`: for each of the T merged patches of all images the token and
            its K features for deeper layers; `image_grid_thw` `[N, 3]` says whose they are.
        """
        visual, grid = self.language_model.model.visual, streams["image_grid_thw"]
        with gradients_of(visual):
            seen = visual(streams["pixel_values"], grid_thw=grid)
        levels = torch.stack([seen.pooler_output, *seen.deepstack_features], dim=1)
        return {"vision_features": levels, "image_grid_thw": grid}

    @property
    def region_width(self) -> int:
        """Width of a merged patch."""
        return int(self.config.vision_config.out_hidden_size)

    def features_of(self, features: dict[str, Tensor], index: int) -> dict[str, Tensor]:
        """One image's tokens among those of all: as many as its own grid has."""
        grid = features["image_grid_thw"]
        counts = (grid.prod(1) // self.config.vision_config.spatial_merge_size**2).tolist()
        return {
            "vision_features": features["vision_features"].split(counts)[index],
            "image_grid_thw": grid[index : index + 1],
        }

    def dense_maps(self, visual: dict[str, Tensor], drawable: SegmenterFeatures) -> list[DenseMap]:
        """The tokens of one picture on its own grid, which covers all of it."""
        _, height, width = visual["image_grid_thw"][0].tolist()
        merge = self.config.vision_config.spatial_merge_size
        tokens = visual["vision_features"][:, 0]
        return [DenseMap(tokens.T.reshape(-1, height // merge, width // merge), "pixel_values")]

    def encode_images(
        self,
        num_images: list[int],
        pixel_values: Tensor | None = None,
        image_grid_thw: Tensor | None = None,
        vision_features: Tensor | None = None,
        **_: Any,
    ) -> VisualTokens:
        """Images to visual tokens, one for every merged patch.

        Args:
            num_images: B counts that sum to N.
            pixel_values: `[P, C]` patches of all images.
            image_grid_thw: `[N, 3]` time (1), height and width of each image in patches.
            vision_features: `[T, 1 + K, D]` in place of pixels where they are kept.

        Returns:
            `[N, longest, D]`; `extras` hold `deepstack` `[N, longest, K, D]` and `image_grid_thw`.
        """
        if image_grid_thw is None and sum(num_images) == 0:
            width = self.config.text_config.hidden_size
            empty = torch.zeros(0, 0, width, device=self.device, dtype=self.dtype)
            return VisualTokens(empty, empty[..., 0].bool(), empty)
        if image_grid_thw is None or (pixel_values is None and vision_features is None):
            raise AlignmentError(
                "no images",
                expected="image_grid_thw with pixel_values or vision_features",
                found="not both",
                where="encode_images",
                fix="pass what the processor returns",
            )
        if vision_features is None:
            streams = {"pixel_values": cast(Tensor, pixel_values), "image_grid_thw": image_grid_thw}
            vision_features = self.encode_features(**streams)["vision_features"]
        counts = image_grid_thw.prod(1) // self.config.vision_config.spatial_merge_size**2
        levels = pad_sequence(list(vision_features.split(counts.tolist())), batch_first=True)
        mask = torch.arange(levels.shape[1], device=levels.device)[None] < counts[:, None].to(levels.device)
        extras = {"deepstack": levels[:, :, 1:], "image_grid_thw": image_grid_thw}
        return VisualTokens(levels[:, :, 0], mask, levels[:, :, 0], extras=extras)

    def reading(self, text: TextInputs, visual: VisualTokens) -> dict[str, Any]:
        """Positions `[3, B, L]` of a whole prompt, and what is added at the pictures' places."""
        places = text.input_ids == self.config.image_token_id
        grid = visual.extras.get("image_grid_thw")
        # A function of its arguments; what transformers keeps in the module is never read.
        positions, _ = self.language_model.model.get_rope_index(
            text.input_ids,
            mm_token_type_ids=places.int(),
            image_grid_thw=grid,
            attention_mask=text.attention_mask,
        )
        if grid is None:
            return {"position_ids": positions}
        deep = visual.extras["deepstack"][visual.mask]
        return {
            "position_ids": positions,
            "visual_pos_masks": places,
            "deepstack_visual_embeds": list(deep.unbind(1)),
        }


class Sa2vaModel(Qwen3VLGroundedModel):
    """Sa2VA on Qwen3-VL: the same forward pass; its configuration says where prompts are read.

    Source: Sa2VA (design and code).
    """

    config_class = Sa2vaConfig
