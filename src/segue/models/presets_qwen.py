"""Models on Qwen3-VL as configurations: a tiny one for tests and dry runs."""

from __future__ import annotations

from typing import Any

from segue.models.configuration_qwen3_vl import Qwen3VLGroundedConfig
from segue.models.presets_parts import TINY_SAM

TINY_QWEN_VISION: dict[str, Any] = {
    "depth": 3,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_heads": 2,
    "out_hidden_size": 16,
    "patch_size": 4,
    "num_position_embeddings": 16,
    "deepstack_visual_indexes": [0, 2],
    "initializer_range": 0.2,
}

TINY_QWEN_TEXT: dict[str, Any] = {
    "vocab_size": 1536,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 1024,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": [2, 1, 1],
        "mrope_interleaved": True,
    },
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
"""Parts of random-weight models, see `segue.models.presets_parts`. Source: ours."""

TINY_AREA = {"min_pixels": 16**2, "max_pixels": 32**2}
"""Area of a picture in the tiny model: 4 to 16 tokens of 8 x 8 pixels."""


def tiny_segue_config(**overrides: Any) -> Qwen3VLGroundedConfig:
    """Random-weight size: every part present, milliseconds a step. Source: ours."""
    fields: dict[str, Any] = {
        "vision_config": TINY_QWEN_VISION,
        "text_config": TINY_QWEN_TEXT,
        "sam_config": TINY_SAM,
        "seg_token_id": 4,
        "phrase_token_id": 5,
        "mask_loss_resolution": "decoder",
    }
    return Qwen3VLGroundedConfig(**(fields | overrides))
