"""OMG-LLaVA at its published size, and a tiny one for tests, as configurations."""

from __future__ import annotations

from typing import Any

from segue.models.omg_llava.configuration_omg_llava import OmgLlavaConfig
from segue.models.presets_miras import CONVNEXT_LARGE
from segue.models.presets_parts import TINY_LLAMA

OMG_LLAVA_COMPONENTS = {
    "perception, image_projection, seg_projection, mask_decoder": "zhangtao-whu/OMG-LLaVA",
    "language_model": "internlm/internlm2-chat-7b",
    "perception.backbone": "laion/CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup",
}

OMG_LLAVA_LICENCES = {
    "zhangtao-whu/OMG-LLaVA": "see its model card",
    "internlm/internlm2-chat-7b": "Apache-2.0 code; weights: see its model card",
}

INTERNLM2_7B: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
    "bos_token_id": 1,
    "eos_token_id": 92542,
    "pad_token_id": 2,
    "tie_word_embeddings": False,
}
"""InternLM2-chat-7B, whose layers are LLaMA's; `<|im_end|>` ends an answer. Source: its config.json."""

ADDED_TOKENS = ("[SEG]", "<p>", "</p>", "<region>")
"""Behind InternLM2's 92544, in this order. `<mark>` follows without a row, for it is always replaced."""

INTERNLM2_TOKENS = 92544


def omg_llava_7b_config(**overrides: Any) -> OmgLlavaConfig:
    """OMG-LLaVA: OMG-Seg on ConvNeXt-L at 1024 pixels, InternLM2-chat-7B.

    Source: OMG-LLaVA's code and weights (rows of the tables).
    """
    fields: dict[str, Any] = {
        "perception_config": {
            "backbone_config": CONVNEXT_LARGE | {"model_type": "convnext", "image_size": 1024}
        },
        "text_config": INTERNLM2_7B | {"vocab_size": INTERNLM2_TOKENS + len(ADDED_TOKENS)},
        "seg_projection_hidden_size": 512,
        "seg_token_id": INTERNLM2_TOKENS,
        "phrase_token_id": INTERNLM2_TOKENS + 1,
        "region_token_id": INTERNLM2_TOKENS + 3,
        "mark_token_id": INTERNLM2_TOKENS + 4,
        "image_token_id": INTERNLM2_TOKENS + 5,
        # Its code asserts exactly one.
        "max_training_images": 1,
    }
    return OmgLlavaConfig(**(fields | overrides))


TINY_PERCEPTION: dict[str, Any] = {
    "backbone_config": {
        "model_type": "convnext",
        "hidden_sizes": [8, 8, 16, 16],
        "depths": [1, 1, 1, 1],
        "image_size": 128,
        "patch_size": 4,
        # transformers starts it at 1e-6, which makes each block of a random ConvNeXt the identity.
        "layer_scale_init_value": 1.0,
        "initializer_range": 0.2,
    },
    # Norms of the pixel decoder have 32 groups.
    "feature_size": 32,
    "mask_feature_size": 32,
    "hidden_dim": 32,
    "encoder_feedforward_dim": 32,
    "dim_feedforward": 32,
    "encoder_layers": 1,
    "decoder_layers": 4,
    "num_attention_heads": 4,
    "num_queries": 8,
    "num_classes": 5,
    "prompts_per_class": 2,
    "class_width": 16,
}
"""Part of random-weight models: 2 x 2 cells of 64 pixels, 8 queries. Source: ours."""


def tiny_omg_llava_config(**overrides: Any) -> OmgLlavaConfig:
    """Random-weight size: every part present, 5 visual tokens and up to 4 objects an image. Source: ours.

    Ids are those of `segue.models.build.build_omg_llava`.
    """
    fields: dict[str, Any] = {
        "perception_config": TINY_PERCEPTION,
        "text_config": TINY_LLAMA,
        "seg_projection_hidden_size": 32,
        "seg_token_id": 4,
        "phrase_token_id": 5,
        "image_token_id": 3,
        "num_points": 512,
    }
    return OmgLlavaConfig(**(fields | overrides))
