"""Models on Qwen3-VL as configurations: three published sizes, and a tiny one for tests and dry runs."""

from __future__ import annotations

from typing import Any

from segue.models.configuration_qwen3_vl import Qwen3VLGroundedConfig, Sa2vaConfig

_VISION = {
    "depth": 24,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "deepstack_visual_indexes": [5, 11, 17],
}
_TEXT: dict[str, Any] = {
    "vocab_size": 151936,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "num_hidden_layers": 36,
    "max_position_embeddings": 262144,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 5000000.0,
        "mrope_section": [24, 20, 20],
        "mrope_interleaved": True,
    },
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "pad_token_id": 151643,
}

SIZES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "2b": (
        _VISION | {"out_hidden_size": 2048},
        _TEXT
        | {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16}
        | {"tie_word_embeddings": True},
    ),
    "4b": (
        _VISION | {"out_hidden_size": 2560},
        _TEXT | {"hidden_size": 2560, "intermediate_size": 9728, "tie_word_embeddings": True},
    ),
    # The vision tower of 8B is the class's own default: 27 layers of 1152.
    "8b": (
        {"out_hidden_size": 4096},
        _TEXT | {"hidden_size": 4096, "intermediate_size": 12288, "tie_word_embeddings": False},
    ),
}
"""Vision tower and language model of Qwen3-VL-2B, 4B and 8B. Source: the models' config.json."""


def _sam2(
    width: int, blocks: list[int], attends: list[int], windows: list[int], background: int
) -> dict[str, Any]:
    widths = [width * 2**stage for stage in range(4)]
    return {
        "model_type": "sam2",
        "vision_config": {
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": width,
                "num_attention_heads": 2,
                "num_attention_heads_per_stage": [2, 4, 8, 16],
                "embed_dim_per_stage": widths,
                "blocks_per_stage": blocks,
                "global_attention_blocks": attends,
                "window_size_per_stage": windows,
                "window_positional_embedding_background_size": [background, background],
            },
            "backbone_channel_list": widths[::-1],
        },
        # In evaluation it would take another mask than the one that was trained, by its stability.
        "mask_decoder_config": {"dynamic_multimask_via_stability": False},
    }


SAM2_LARGE = _sam2(144, [2, 6, 36, 4], [23, 33, 43], [8, 4, 16, 8], 7)
SAM2_BASE_PLUS = _sam2(112, [2, 3, 16, 3], [12, 16, 20], [8, 4, 14, 7], 14)
"""SAM 2.1 Hiera-L and B+. Source: their configuration in Meta's code, and in transformers' conversion."""

QWEN_PRESETS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "segue-2b": ("2b", "Qwen3-VL-2B and SAM 2.1 Hiera-B+", SAM2_BASE_PLUS, "facebook/sam2.1-hiera-base-plus"),
    "segue-4b": ("4b", "Qwen3-VL-4B and SAM 2.1 Hiera-L", SAM2_LARGE, "facebook/sam2.1-hiera-large"),
    "segue-8b": ("8b", "Qwen3-VL-8B and SAM 2.1 Hiera-L", SAM2_LARGE, "facebook/sam2.1-hiera-large"),
}
"""Presets: size of Qwen3-VL, summary, segmenter and its checkpoint."""

NEW_TOKENS = ("[SEG]", "<p>", "</p>")
"""Added to Qwen's tokenizer in this order; their rows are free ones of its padded table."""

_FIRST_FREE_ID = 151669
"""Tokens of Qwen3-VL's tokenizer; its table has 267 rows more."""


def qwen_parts(name: str) -> dict[str, str]:
    """Public checkpoints that a preset of `QWEN_PRESETS` starts from."""
    size, _, _, sam = QWEN_PRESETS[name]
    qwen = f"Qwen/Qwen3-VL-{size.upper()}-Instruct"
    return {"language_model": qwen, "sam": sam}


def segue_config(name: str, **overrides: Any) -> Qwen3VLGroundedConfig:
    """A preset of `QWEN_PRESETS` at full size.

    Source: ours; the losses' weights are Sa2VA's.
    """
    size, _, sam, _ = QWEN_PRESETS[name]
    vision, text = SIZES[size]
    fields: dict[str, Any] = {
        "vision_config": vision,
        "text_config": text,
        "sam_config": sam,
        "seg_token_id": _FIRST_FREE_ID,
        "phrase_token_id": _FIRST_FREE_ID + 1,
        "pixel_loss": "bce",
        # Labels at 256 x 256: a photograph's own size costs more than the decoder does.
        "mask_loss_resolution": "decoder",
    }
    return Qwen3VLGroundedConfig(**(fields | overrides))


SA2VA_PRESETS: dict[str, tuple[str, str, int]] = {
    "sa2va-2b": ("2b", "ByteDance/Sa2VA-Qwen3-VL-2B", 2_666_775_090),
    "sa2va-4b": ("4b", "ByteDance/Sa2VA-Qwen3-VL-4B", 5_057_072_690),
}
"""Presets: size of Qwen3-VL, the published checkpoint, and the numbers in its files."""

_SA2VA_ROWS = 151674
"""Rows of both tables: Qwen's tokens and five more, without Qwen's padding. Source: the files' sizes."""


def sa2va_config(name: str, **overrides: Any) -> Sa2vaConfig:
    """A preset of `SA2VA_PRESETS` at full size: the head is not the embedding table, SAM 2.0 Hiera-L.

    Source: Sa2VA's code and configuration.
    """
    vision, text = SIZES[SA2VA_PRESETS[name][0]]
    fields: dict[str, Any] = {
        "vision_config": vision,
        "text_config": text | {"vocab_size": _SA2VA_ROWS, "tie_word_embeddings": False},
        "sam_config": SAM2_LARGE,
        "seg_token_id": _FIRST_FREE_ID,
        "phrase_token_id": _FIRST_FREE_ID + 1,
        "pixel_loss": "bce",
        "mask_loss_resolution": "points",
    }
    return Sa2vaConfig(**(fields | overrides))


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

TINY_SAM2: dict[str, Any] = {
    "model_type": "sam2",
    # Of decoder and prompts: with SAM 2's own 0.02 the first steps of a decoder this narrow move nothing.
    "initializer_range": 0.1,
    "vision_config": {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 8,
            "image_size": [64, 64],
            "num_attention_heads": 1,
            "num_attention_heads_per_stage": [1, 1, 2, 2],
            # Widths must differ: transformers pools where they do. The first block of a stage has a window.
            "embed_dim_per_stage": [8, 16, 24, 32],
            "blocks_per_stage": [1, 1, 2, 1],
            "global_attention_blocks": [3],
            "window_size_per_stage": [4, 4, 4, 2],
            "window_positional_embedding_background_size": [4, 4],
            "initializer_range": 0.2,
        },
        "backbone_channel_list": [32, 24, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 16,
        "initializer_range": 0.2,
    },
    "prompt_encoder_config": {"hidden_size": 16, "image_size": 64, "mask_input_channels": 4},
    "mask_decoder_config": {
        "hidden_size": 16,
        "mlp_dim": 32,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 8,
        "dynamic_multimask_via_stability": False,
    },
}

TINY_AREA = {"min_pixels": 16**2, "max_pixels": 32**2}
"""Area of a picture in the tiny model: 4 to 16 tokens of 8 x 8 pixels."""


_TINY: dict[str, Any] = {
    "vision_config": TINY_QWEN_VISION,
    "text_config": TINY_QWEN_TEXT,
    "sam_config": TINY_SAM2,
    "seg_token_id": 4,
    "phrase_token_id": 5,
    "mask_loss_resolution": "decoder",
}


def tiny_segue_config(**overrides: Any) -> Qwen3VLGroundedConfig:
    """Random-weight size: every part present, milliseconds a step. Source: ours."""
    return Qwen3VLGroundedConfig(**(_TINY | overrides))


def tiny_sa2va_config(**overrides: Any) -> Sa2vaConfig:
    """The same of Sa2VA, its head not tied. Source: ours."""
    text = TINY_QWEN_TEXT | {"tie_word_embeddings": False}
    return Sa2vaConfig(**(_TINY | {"text_config": text, "pixel_loss": "bce"} | overrides))
