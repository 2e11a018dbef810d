"""MIRAS at its published size, and a tiny one for tests, as configurations."""

from __future__ import annotations

from typing import Any

from segue.models.configuration_miras import MirasConfig
from segue.models.presets_parts import CLIP_LARGE, LLAMA_7B, SAM_HUGE, TINY_LLAMA, TINY_SAM

CONVNEXT_LARGE: dict[str, Any] = {
    "hidden_sizes": [192, 384, 768, 1536],
    "depths": [3, 3, 27, 3],
    "image_size": 768,
    "patch_size": 4,
    "drop_path_rate": 0.0,
}
"""The trunk of OpenCLIP's `convnext_large_d_320`; its stochastic depth is off, as in a frozen encoder."""

MIRAS_COMPONENTS = {
    "vision_model": "openai/clip-vit-large-patch14-336",
    "aux_vision_model": "laion/CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup",
    "language_model, image_projection": "liuhaotian/llava-v1.5-7b",
    "sam": "facebook/sam-vit-huge",
}


def miras_7b_config(**overrides: Any) -> MirasConfig:
    """MIRAS at full size: CLIP-L/14 at 336, ConvNeXt-L at 768, LLaVA-1.5-7B, SAM ViT-H.

    Source: MIRAS's paper and code; its five added tokens, `[SEG]` first, with `[OBJ]`.
    """
    fields: dict[str, Any] = {
        "vision_config": CLIP_LARGE | {"image_size": 336},
        "aux_vision_config": CONVNEXT_LARGE,
        # 32000 [SEG], [OBJ], <im_start>, <im_end>, 32004 <im_patch>; <image> lies one past the table.
        "text_config": LLAMA_7B | {"vocab_size": 32005},
        "sam_config": SAM_HUGE,
        "seg_token_id": 32000,
        "phrase_token_id": 32001,
        "image_token_id": 32005,
    }
    return MirasConfig(**(fields | overrides))


def tiny_miras_config(**overrides: Any) -> MirasConfig:
    """Random-weight size: every part present, milliseconds a step, 16 visual tokens an image. Source: ours.

    Ids are those of a tokenizer of `segue.mini.tokenizer`; `segue.models.build.build_miras` adds `[OBJ]`.
    """
    fields: dict[str, Any] = {
        "vision_config": {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
        },
        "aux_vision_config": {
            "hidden_sizes": [8, 8, 16, 16],
            "depths": [1, 1, 1, 1],
            "image_size": 64,
            "patch_size": 4,
            # transformers starts it at 1e-6, which makes each block of a random ConvNeXt the identity.
            "layer_scale_init_value": 1.0,
        },
        # 4 x 4 patches (56 / 14), each looking into 2 x 2 cells.
        "aux_grid": 8,
        "text_config": TINY_LLAMA | {"vocab_size": 1537},
        "sam_config": TINY_SAM,
        "seg_token_id": 4,
        "image_token_id": 3,
        "phrase_token_id": 1536,
        "mask_loss_resolution": "decoder",
    }
    return MirasConfig(**(fields | overrides))
