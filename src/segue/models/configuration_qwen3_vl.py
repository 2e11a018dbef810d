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
