"""Presets of the embedded models, as configurations: `segue-mini`, `segue-scenes`, and `tiny` for tests.

Importing registers none of them.
"""

from __future__ import annotations

from typing import Any

from segue.models.configuration_grounded import GroundedConfig
from segue.models.image_streams import IMAGENET_MEAN, IMAGENET_STD, streams_for
from segue.models.mini.configuration_mini import MiniConfig
from segue.models.mini.picture import STREAM
from segue.models.presets import Preset
from segue.models.presets_parts import TINY_CLIP, TINY_DINO, TINY_LLAMA, TINY_QFORMER, TINY_SAM

MINI_COLOURS = (
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
    "white",
    "black",
    "grey",
)
"""The basic colour terms; their order numbers the attributes in saved weights, so it stays. Source: ours."""

LABEL_READER = {
    "embedding_size": 32,
    "hidden_sizes": [48, 96, 160, 256],
    "depths": [2, 2, 2, 2],
    "layer_type": "basic",
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
"""ResNet-18 at less than half its width. Source: ours."""


MINI_CLIP: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": 240,
    "patch_size": 30,
    "initializer_range": 0.02,
}

MINI_DINO: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "image_size": 240,
    "patch_size": 15,
    "num_register_tokens": 2,
    "mlp_ratio": 4,
    "layerscale_value": 1.0,
}

MINI_QFORMER: dict[str, Any] = {
    "vocab_size": 1536,
    "hidden_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 576,
    "cross_attention_frequency": 1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": 128,
}

MINI_LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 1536,
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "initializer_range": 0.05,
}

MINI_SAM: dict[str, Any] = {
    "vision_config": {
        "hidden_size": 128,
        "output_channels": 128,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "image_size": 240,
        "patch_size": 15,
        "window_size": 8,
        "global_attn_indexes": [1, 3, 4],
        "num_pos_feats": 64,
        "use_rel_pos": False,
        "initializer_range": 0.02,
    },
    "prompt_encoder_config": {"hidden_size": 128, "image_size": 240, "patch_size": 15},
    "mask_decoder_config": {
        "hidden_size": 128,
        "mlp_dim": 256,
        "num_attention_heads": 4,
        "iou_head_hidden_dim": 64,
        "num_multimask_outputs": 1,
        "layer_norm_eps": 1e-5,
    },
}
"""The parts of `segue-scenes`, together about one six-hundredth of the paper's. Source: ours."""


def segue_scenes_config(
    slot_classes: tuple[str, ...] = (), label_reader_names: tuple[str, ...] = (), **overrides: Any
) -> MiniConfig:
    """The small model of drawn scenes: every aid of `MiniConfig` is on.

    Args:
        slot_classes: what the object slots can name.
        label_reader_names: those of them that a label reader tells; without any there is none.
        **overrides: other fields.

    Source: ours; what each option buys is in the model card.
    """
    fields: dict[str, Any] = {
        "vision_config": MINI_CLIP,
        "aux_vision_config": MINI_DINO,
        "qformer_config": MINI_QFORMER,
        "text_config": MINI_LLAMA,
        "sam_config": MINI_SAM,
        "num_query_tokens": 22,
        "keep_text_outputs": False,
        "fusion_heads": 4,
        "fusion_ffn": True,
        "fusion_pooled_skip": True,
        "fusion_positions": True,
        "content_queries": 4,
        "content_skip": True,
        "num_object_slots": 6,
        "slot_classes": slot_classes,
        "slot_attributes": MINI_COLOURS,
        "label_reader_names": label_reader_names,
        "label_reader_config": LABEL_READER if label_reader_names else None,
        "label_reader_smaller": [256],
        "image_index_embedding": True,
        "slot_relevance": True,
        "visual_token_rms": 0.06,
        "identifier_token_ids": tuple(range(7, 16)),
        "seg_token_id": 4,
        "phrase_token_id": 5,
        "image_token_id": 3,
        "pixel_loss": "bce",
        "mask_loss_resolution": "decoder",
        "max_training_images": 3,
    }
    return MiniConfig(**(fields | overrides))


def tiny_config(**overrides: Any) -> MiniConfig:
    """Random-weight size for tests and dry runs: every part present, milliseconds a step. Source: ours."""
    sizes: dict[str, Any] = {
        "vision_config": TINY_CLIP,
        "aux_vision_config": TINY_DINO,
        "qformer_config": TINY_QFORMER,
        "text_config": TINY_LLAMA,
        "sam_config": TINY_SAM,
        "num_query_tokens": 5,
        "content_queries": 2,
        "num_object_slots": 1,
        "fusion_heads": 2,
        "max_training_images": None,
    }
    if overrides.get("label_reader_names"):
        sizes["label_reader_config"] = LABEL_READER | {"embedding_size": 4, "hidden_sizes": [4, 4, 8, 8]}
        sizes["label_reader_smaller"] = []
    return segue_scenes_config(**(sizes | overrides))


def mini_streams_for(config: MiniConfig) -> dict[str, dict[str, Any]]:
    """Image streams of PRIMA, and the label reader's where there is one: the picture squeezed to a square."""
    if config.label_reader_config is None:
        return streams_for(config)
    labels = {"size": config.label_reader_size, "fit": "stretch", "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    return {"pixel_values_labels": labels} | streams_for(config)


def embedded_config(**overrides: Any) -> GroundedConfig:
    """Configuration of the embedded default, as it is installed: its names and words belong to its weights.

    Args:
        **overrides: fields in place of the installed ones.

    Raises:
        ModelError: its folder is missing from this installation.
    """
    # Not at the top: `auto` registers families, this one among them.
    from segue.models.auto import load_config, weights_folder

    config: GroundedConfig = load_config(weights_folder("segue-mini"))
    for name, value in overrides.items():
        setattr(config, name, value)
    return config


MINI_PRESETS = {
    "segue-mini": Preset(
        "segue-mini",
        "the embedded default: ordinary photographs, answers within a second on a CPU",
        embedded_config,
        lambda _: {"pixel_values_sam": STREAM},
    ),
    "segue-scenes": Preset(
        "segue-scenes",
        "drawn scenes and what dressed persons wear, trained from scratch, runs on a CPU",
        segue_scenes_config,
        mini_streams_for,
    ),
    "tiny": Preset("tiny", "random weights for tests and dry runs", tiny_config, mini_streams_for),
}
