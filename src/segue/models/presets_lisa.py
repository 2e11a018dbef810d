"""LISA and GLaMM at their published sizes, as configurations."""

from __future__ import annotations

from typing import Any

from segue.models.configuration_lisa import GlammConfig, LisaConfig
from segue.models.presets_parts import CLIP_LARGE, LLAMA_7B, SAM_HUGE

_VICUNA_1_1 = LLAMA_7B | {"max_position_embeddings": 2048, "rms_norm_eps": 1e-6}


def lisa_7b_config(**overrides: Any) -> LisaConfig:
    """LISA-7B-v1: CLIP-L/14 at 224, LLaVA-Lightning on Vicuna v1.1, SAM ViT-H.

    Source: LISA's code; the tokens of a LLaMA tokenizer of 32000 pieces, `[SEG]` first.
    """
    fields: dict[str, Any] = {
        "vision_config": CLIP_LARGE | {"image_size": 224},
        # 32000 [SEG], <im_start>, 32002 <im_end>. <image> lies one past the table: read, never written.
        "text_config": _VICUNA_1_1 | {"vocab_size": 32003},
        "sam_config": SAM_HUGE,
        "seg_token_id": 32000,
        "image_token_id": 32003,
    }
    return LisaConfig(**(fields | overrides))


def lisa_13b_config(**overrides: Any) -> LisaConfig:
    """LISA-13B-llama2-v1: the same on LLaMA-2-13B, whose LLaVA has the image tokens already.

    Source: LISA's code; sizes of llava-llama-2-13b-chat-lightning-preview.
    """
    larger = {
        "hidden_size": 5120,
        "intermediate_size": 13824,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "vocab_size": 32004,
    }
    fields: dict[str, Any] = {
        "text_config": LLAMA_7B | larger,
        # Behind the three tokens that this LLaVA brings.
        "seg_token_id": 32003,
        "image_token_id": 32004,
    }
    return lisa_7b_config(**(fields | overrides))


def glamm_7b_config(**overrides: Any) -> GlammConfig:
    """GLaMM: CLIP-L/14 at 336, Vicuna-7B v1.5, SAM ViT-H.

    Source: GLaMM's code; seven added tokens.
    """
    fields: dict[str, Any] = {
        "vision_config": CLIP_LARGE | {"image_size": 336},
        # 32000 <im_start>, <im_end>, <bbox>, <point>, 32004 [SEG], <p>, </p>; <image> past the table.
        "text_config": LLAMA_7B | {"vocab_size": 32007},
        "sam_config": SAM_HUGE,
        "seg_token_id": 32004,
        "phrase_token_id": 32005,
        "image_token_id": 32007,
    }
    return GlammConfig(**(fields | overrides))
