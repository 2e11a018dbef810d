"""Parts that the presets of several families share: those of the published models, and tiny ones."""

from __future__ import annotations

from typing import Any

CLIP_LARGE: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "projection_dim": 768,
}
"""CLIP-L/14; each preset says at which size. Source: `openai/clip-vit-large-patch14`."""

LLAMA_7B: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}
"""Vicuna-7B v1.5 and LLaVA-1.5-7B; the number of tokens is the presets'. Source: `lmsys/vicuna-7b-v1.5`."""

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

TINY_CLIP: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
    # The InstructBLIP and SAM towers default to 1e-10 (transformers 5.23), meant to be overwritten by a
    # checkpoint: a random model would be blind, two pictures differing by 1e-21.
    "initializer_range": 0.2,
}

TINY_DINO: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
    "num_register_tokens": 2,
    "mlp_ratio": 2,
}

TINY_QFORMER: dict[str, Any] = {
    "vocab_size": 1536,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "cross_attention_frequency": 1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": 128,
}

TINY_LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 1536,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

TINY_SAM: dict[str, Any] = {
    "vision_config": {
        "hidden_size": 16,
        "output_channels": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 48,
        "patch_size": 12,
        "window_size": 2,
        "global_attn_indexes": [0],
        # Half the width of a prompt: a sine and a cosine for each.
        "num_pos_feats": 8,
        "initializer_range": 0.2,
    },
    "prompt_encoder_config": {"hidden_size": 16, "image_size": 48, "patch_size": 12},
    "mask_decoder_config": {
        "hidden_size": 16,
        "mlp_dim": 32,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 8,
        "num_multimask_outputs": 1,
    },
}
"""Parts of random-weight models for tests and dry runs, the same in every family. Source: ours."""
