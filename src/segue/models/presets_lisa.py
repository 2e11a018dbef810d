"""LISA and GLaMM at their published sizes, as configurations."""

from __future__ import annotations

from typing import Any

from segue.models.configuration_lisa import GlammConfig, LisaConfig

_CLIP_L = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "projection_dim": 768,
}

_LLAMA_7B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}

SAM_HUGE: dict[str, Any] = {
    "vision_config": {
        "hidden_size": 1280,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "global_attn_indexes": [7, 15, 23, 31],
        "mlp_dim": 5120,
    },
    "mask_decoder_config": {"layer_norm_eps": 1e-5},
}
"""SAM ViT-H with the norm of its own mask decoder."""


def lisa_7b_config(**overrides: Any) -> LisaConfig:
    """LISA-7B-v1: CLIP-L/14 at 224, LLaVA-Lightning on Vicuna v1.1, SAM ViT-H.

    Source: LISA's code; the tokens of a LLaMA tokenizer of 32000 pieces, `[SEG]` first.
    """
    fields: dict[str, Any] = {
        "vision_config": _CLIP_L | {"image_size": 224},
        "text_config": _LLAMA_7B | {"vocab_size": 32003},
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
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "vocab_size": 32004,
    }
    fields: dict[str, Any] = {
        "text_config": _LLAMA_7B | larger,
        "seg_token_id": 32003,
        "image_token_id": 32004,
    }
    return lisa_7b_config(**(fields | overrides))


def glamm_7b_config(**overrides: Any) -> GlammConfig:
    """GLaMM: CLIP-L/14 at 336, Vicuna-7B v1.5, SAM ViT-H.

    Source: GLaMM's code; seven added tokens.
    """
    fields: dict[str, Any] = {
        "vision_config": _CLIP_L | {"image_size": 336},
        "text_config": _LLAMA_7B
        | {"vocab_size": 32007, "rms_norm_eps": 1e-5, "max_position_embeddings": 4096},
        "sam_config": SAM_HUGE,
        "seg_token_id": 32004,
        "phrase_token_id": 32005,
        "image_token_id": 32007,
    }
    return GlammConfig(**(fields | overrides))
