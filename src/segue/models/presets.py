"""Named sizes: `prima-7b` (the paper) and `segue-mini` (the embedded default), as configurations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from segue.colours import COLOUR_NAMES as MINI_COLOURS
from segue.errors import InputError
from segue.models.configuration_grounded import GroundedConfig, PrimaConfig
from segue.models.image_streams import CLIP_MEAN as CLIP_MEAN
from segue.models.image_streams import CLIP_STD as CLIP_STD
from segue.models.image_streams import IMAGENET_MEAN as IMAGENET_MEAN
from segue.models.image_streams import IMAGENET_STD as IMAGENET_STD
from segue.models.image_streams import clip_streams_for as clip_streams_for
from segue.models.image_streams import miras_streams_for as miras_streams_for
from segue.models.image_streams import streams_for as streams_for
from segue.models.presets_lisa import glamm_7b_config, lisa_7b_config, lisa_13b_config
from segue.models.presets_miras import MIRAS_COMPONENTS, miras_7b_config, tiny_miras_config
from segue.models.presets_parts import LLAMA_7B, SAM_HUGE, TINY_LLAMA, TINY_SAM


@dataclass(frozen=True)
class Preset:
    """A named model.

    Attributes:
        name: what users type.
        summary: one line for tables.
        config: builds the configuration.
        components: part to public checkpoint that it starts from (hub names).
        streams: processor image streams, see `segue.models.processing_grounded.ImageStream`.
        licences: part to licence of the public weights.
    """

    name: str
    summary: str
    config: Callable[..., GroundedConfig]
    streams: dict[str, dict[str, Any]]
    components: dict[str, str] = field(default_factory=dict)
    licences: dict[str, str] = field(default_factory=dict)


def prima_7b_config(visual_module: str = "fusion", **overrides: Any) -> PrimaConfig:
    """PRIMA at full size.

    EVA-CLIP-g/14 without its last block, DINOv2-L with registers, BLIP-2's Q-Former, Vicuna-7B v1.5 with the
    seven tokens of GLaMM and `<image>`, SAM ViT-H.

    Source: PRIMA section 3.2 and appendix C; token order GLaMM's code.
    """
    return PrimaConfig(
        **(
            {
                "visual_module": visual_module,
                "vision_config": {
                    "hidden_size": 1408,
                    "intermediate_size": 6144,
                    "num_hidden_layers": 39,
                    "num_attention_heads": 16,
                    "image_size": 224,
                    "patch_size": 14,
                },
                "aux_vision_config": {
                    "hidden_size": 1024,
                    "num_hidden_layers": 24,
                    "num_attention_heads": 16,
                    "image_size": 518,
                    "patch_size": 14,
                    "num_register_tokens": 4,
                },
                "qformer_config": {"vocab_size": 30523},
                "text_config": LLAMA_7B | {"vocab_size": 32008},
                "sam_config": SAM_HUGE,
                "seg_token_id": 32004,
                "phrase_token_id": 32005,
                "image_token_id": 32007,
            }
            | overrides
        )
    )


LABEL_READER = {
    "embedding_size": 32,
    "hidden_sizes": [48, 96, 160, 256],
    "depths": [2, 2, 2, 2],
    "layer_type": "basic",
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
"""ResNet-18 at less than half its width. Source: ours."""


def segue_mini_config(
    slot_classes: tuple[str, ...] = (), label_reader_names: tuple[str, ...] = (), **overrides: Any
) -> PrimaConfig:
    """The embedded default: the same classes at about one six-hundredth of the size, all mini options on.

    Args:
        slot_classes: what the object slots can name.
        label_reader_names: those of them that a label reader tells; without any there is none.
        **overrides: other fields.

    Source: ours; what each option buys is in the model card.
    """
    init = {"initializer_range": 0.02}
    return PrimaConfig(
        **(
            {
                "vision_config": {
                    "hidden_size": 128,
                    "intermediate_size": 512,
                    "num_hidden_layers": 4,
                    "num_attention_heads": 4,
                    "image_size": 240,
                    "patch_size": 30,
                }
                | init,
                "aux_vision_config": {
                    "hidden_size": 128,
                    "num_hidden_layers": 5,
                    "num_attention_heads": 4,
                    "image_size": 240,
                    "patch_size": 15,
                    "num_register_tokens": 2,
                    "mlp_ratio": 4,
                    "layerscale_value": 1.0,
                },
                "qformer_config": {
                    "vocab_size": 1536,
                    "hidden_size": 192,
                    "num_hidden_layers": 2,
                    "num_attention_heads": 4,
                    "intermediate_size": 576,
                    "cross_attention_frequency": 1,
                    "hidden_dropout_prob": 0.0,
                    "attention_probs_dropout_prob": 0.0,
                    "max_position_embeddings": 128,
                },
                "text_config": {
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
                },
                "sam_config": {
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
                    }
                    | init,
                    "prompt_encoder_config": {"hidden_size": 128, "image_size": 240, "patch_size": 15},
                    "mask_decoder_config": {
                        "hidden_size": 128,
                        "mlp_dim": 256,
                        "num_attention_heads": 4,
                        "iou_head_hidden_dim": 64,
                        "num_multimask_outputs": 1,
                        "layer_norm_eps": 1e-5,
                    },
                },
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
            }
            | overrides
        )
    )


def tiny_config(**overrides: Any) -> PrimaConfig:
    """Random-weight size for tests and dry runs: every part present, milliseconds a step. Source: ours."""
    sizes: dict[str, Any] = {
        "vision_config": {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
            "initializer_range": 0.2,
        },
        "aux_vision_config": {
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
            "num_register_tokens": 2,
            "mlp_ratio": 2,
        },
        "qformer_config": {
            "vocab_size": 1536,
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "cross_attention_frequency": 1,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "max_position_embeddings": 128,
        },
        "text_config": TINY_LLAMA,
        "sam_config": TINY_SAM,
        "num_query_tokens": 5,
        "content_queries": 2,
        "num_object_slots": 1,
        "fusion_heads": 2,
    }
    if overrides.get("label_reader_names"):
        sizes["label_reader_config"] = LABEL_READER | {"embedding_size": 4, "hidden_sizes": [4, 4, 8, 8]}
        sizes["label_reader_smaller"] = []
    return segue_mini_config(**(sizes | overrides))


PRIMA_COMPONENTS = {
    "vision_model, reader": "Salesforce/instructblip-vicuna-7b",
    "aux_vision_model": "facebook/dinov2-with-registers-large",
    "language_model": "lmsys/vicuna-7b-v1.5",
    "sam": "facebook/sam-vit-huge",
}


def _lisa_components(checkpoint: str, clip: str) -> dict[str, str]:
    return {"vision_model": clip, "image_projection, language_model, seg_projection, sam": checkpoint}


PRESETS: dict[str, Preset] = {
    "prima-7b": Preset(
        "prima-7b",
        "PRIMA as in the paper: EVA-CLIP-g x DINOv2-L, Q-Former, Vicuna-7B, SAM ViT-H",
        prima_7b_config,
        streams_for(prima_7b_config(), aux_size=448),
        PRIMA_COMPONENTS,
    ),
    "prima-square-7b": Preset(
        "prima-square-7b",
        "PRIMA's newer version: relational queries over all images (SQuARE)",
        lambda **kw: prima_7b_config(**({"visual_module": "square"} | kw)),
        streams_for(prima_7b_config(), aux_size=448),
        PRIMA_COMPONENTS,
    ),
    "lisa-7b": Preset(
        "lisa-7b",
        "LISA as published: CLIP-L/14 at 224, LLaVA-Lightning-7B, SAM ViT-H; 256 tokens an image",
        lisa_7b_config,
        clip_streams_for(lisa_7b_config()),
        _lisa_components("xinlai/LISA-7B-v1", "openai/clip-vit-large-patch14"),
    ),
    "lisa-13b": Preset(
        "lisa-13b",
        "LISA on LLaMA-2-13B",
        lisa_13b_config,
        clip_streams_for(lisa_13b_config()),
        _lisa_components("xinlai/LISA-13B-llama2-v1", "openai/clip-vit-large-patch14"),
    ),
    "glamm-7b": Preset(
        "glamm-7b",
        "GLaMM as published: CLIP-L/14 at 336, Vicuna-7B, SAM ViT-H; 576 tokens an image",
        glamm_7b_config,
        clip_streams_for(glamm_7b_config()),
        _lisa_components("MBZUAI/GLaMM-FullScope", "openai/clip-vit-large-patch14-336"),
    ),
    "miras-7b": Preset(
        "miras-7b",
        "MIRAS for several turns: CLIP-L/14 x ConvNeXt-L, LLaVA-1.5-7B, SAM ViT-H; 576 tokens an image",
        miras_7b_config,
        miras_streams_for(miras_7b_config()),
        MIRAS_COMPONENTS,
    ),
    "segue-mini": Preset(
        "segue-mini",
        "the embedded default, trained from scratch, runs on a CPU",
        segue_mini_config,
        streams_for(segue_mini_config()),
    ),
    "tiny": Preset("tiny", "random weights for tests and dry runs", tiny_config, streams_for(tiny_config())),
    "tiny-miras": Preset(
        "tiny-miras",
        "random weights of MIRAS for tests and dry runs",
        tiny_miras_config,
        miras_streams_for(tiny_miras_config()),
    ),
}


def preset(name: str) -> Preset:
    """Look a preset up by name.

    Raises:
        InputError: no such preset.
    """
    if name not in PRESETS:
        raise InputError(
            "no such preset",
            expected=" or ".join(PRESETS),
            found=name,
            where="model name",
            fix="run `segue models` or give a folder",
        )
    return PRESETS[name]
