"""Configuration of models on Qwen3-VL: its vision tower and language model behind the shared forward pass."""

from __future__ import annotations

import copy
from typing import Any

from transformers import AutoConfig, Qwen3VLConfig
from transformers.configuration_utils import SubConfigSpec
from transformers.models.qwen3_vl import Qwen3VLTextConfig, Qwen3VLVisionConfig

from segue.models.configuration_grounded import GroundedConfig


class Qwen3VLGroundedConfig(GroundedConfig):
    """Qwen3-VL with `[SEG]` and a segmenter; several images, PRIMA's protocol.

    Source: ours; Qwen3-VL's configuration for the parts.
    """

    model_type = "segue"
    sub_configs_defaults = {
        "text_config": Qwen3VLTextConfig,
        "sam_config": SubConfigSpec(config_class=AutoConfig, model_type="sam"),
        "vision_config": Qwen3VLVisionConfig,
    }

    vision_config: Any = None
    """Qwen3-VL's vision tower; pictures keep their ratio. Streams `pixel_values` and `image_grid_thw`."""

    image_token_id: int = 151655
    """Id of `<|image_pad|>`, once for every merged patch. Source: Qwen3-VL's tokenizer."""

    vision_start_token_id: int = 151652
    """Id of `<|vision_start|>`, before the tokens of each image. Source: Qwen3-VL's tokenizer."""

    vision_end_token_id: int = 151653
    """Id of `<|vision_end|>`, after them. Source: Qwen3-VL's tokenizer."""

    prompt_position: str = "before"
    """`before`: a mask prompt is the state that predicts `[SEG]`; `at`: the state at `[SEG]`, after it was
    fed. It is what the projection was trained with. Source: `before` PRIMA; `at` Sa2VA."""

    prompt_norm: str = "after"
    """`after` the language model's last norm, or `before` it; likewise. Source: `after` PRIMA; `before` Sa2VA
    on Qwen3-VL (its code reads what transformers 4.57 called the last hidden state)."""

    padding_points: int = 0
    """Tokens "not a point" before each prompt in SAM 2's decoder, see `Sam2Segmenter`. Source: 2 Sa2VA."""

    best_of_three: bool = False
    """Of SAM 2's three masks take the one that promises most, see `Sam2Segmenter`. Source: True Sa2VA."""

    @property
    def vlm_config(self) -> Qwen3VLConfig:
        """Configuration of the whole vision-language model, as Qwen publishes it; a copy."""
        # Copies: making a configuration resets the attention of those that it is made of, also of a model
        # that already runs with them.
        made = Qwen3VLConfig(
            text_config=copy.deepcopy(self.text_config),
            vision_config=copy.deepcopy(self.vision_config),
            image_token_id=self.image_token_id,
            vision_start_token_id=self.vision_start_token_id,
            vision_end_token_id=self.vision_end_token_id,
            # On 2B and 4B the head is the embedding table; Sa2VA unties the two. Said in one place.
            tie_word_embeddings=bool(getattr(self.text_config, "tie_word_embeddings", False)),
        )
        made._attn_implementation = self.text_config._attn_implementation
        return made


class Sa2vaConfig(Qwen3VLGroundedConfig):
    """Sa2VA on Qwen3-VL as published: other prompts and another choice of the mask than `segue`'s.

    Source: Sa2VA's code.
    """

    model_type = "sa2va"

    prompt_position: str = "at"
    """As published; see the parent's."""

    prompt_norm: str = "before"
    """As published; see the parent's."""

    padding_points: int = 2
    """As published; see the parent's."""

    best_of_three: bool = True
    """As published; see the parent's."""
