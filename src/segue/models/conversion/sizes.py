"""The sizes of public checkpoints, read from their shapes where shapes tell, else from their config.json."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from segue.errors import ModelError
from segue.models.conversion.plan import Shape

_SAM_DECODER_HEADS = 8
"""Attention heads in the decoder of every published SAM; shapes do not tell."""


def strip_prefix(shapes: Mapping[str, Shape], prefix: str) -> dict[str, Shape]:
    """The names that begin with a prefix, without it."""
    return {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}


def count(shapes: Mapping[str, Shape], pattern: str) -> int:
    """Number of numbers that stand at the `#` of a pattern, such as `blocks.#.norm1.weight`."""
    regex = re.compile(re.escape(pattern).replace(r"\#", r"(\d+)"))
    # Different numbers, not the largest plus one.
    return len({match[1] for name in shapes if (match := regex.fullmatch(name))})


def sam_sizes(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Fields of a `SamConfig` from Segment Anything's own names and shapes: ViT-B, L, H or any other size.

    A block's window shows in its relative positions, which have 2 s - 1 entries for a side of s patches; a
    block whose side is the whole grid attends globally.

    Raises:
        ModelError: the image encoder is incomplete.
    """
    try:
        _, grid, _, width = shapes["image_encoder.pos_embed"]
        patch = shapes["image_encoder.patch_embed.proj.weight"][-1]
        depth = count(shapes, "image_encoder.blocks.#.norm1.weight")
        positions = [shapes[f"image_encoder.blocks.{n}.attn.rel_pos_h"] for n in range(depth)]
        prompt_width = shapes["image_encoder.neck.0.weight"][0]
        decoder = "mask_decoder.transformer.layers"
        inner = shapes[f"{decoder}.0.cross_attn_token_to_image.q_proj.weight"][0]
        # ViT-H at 1024: windows of 14 have 27 positions, the 64 x 64 grid of the four global blocks has 127.
        sides = [(length + 1) // 2 for length, _ in positions]
        side = grid * patch
        return {
            "vision_config": {
                "hidden_size": width,
                "output_channels": prompt_width,
                "num_hidden_layers": depth,
                # Relative positions are as wide as one head.
                "num_attention_heads": width // positions[0][1],
                "image_size": side,
                "patch_size": patch,
                "window_size": min(sides),
                "global_attn_indexes": [n for n, s in enumerate(sides) if s == grid],
                "mlp_dim": shapes["image_encoder.blocks.0.mlp.lin1.weight"][0],
                "num_pos_feats": shapes["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"][1],
            },
            "prompt_encoder_config": {
                "hidden_size": prompt_width,
                "image_size": side,
                "patch_size": patch,
                "mask_input_channels": shapes["prompt_encoder.mask_downscaling.3.weight"][0],
                "num_point_embeddings": count(shapes, "prompt_encoder.point_embeddings.#.weight"),
            },
            "mask_decoder_config": {
                "hidden_size": prompt_width,
                "mlp_dim": shapes[f"{decoder}.0.mlp.lin1.weight"][0],
                "num_hidden_layers": count(shapes, f"{decoder}.#.norm1.weight"),
                "num_attention_heads": _SAM_DECODER_HEADS,
                "attention_downsample_rate": prompt_width // inner,
                # One more token stands for the single mask.
                "num_multimask_outputs": shapes["mask_decoder.mask_tokens.weight"][0] - 1,
                "iou_head_depth": count(shapes, "mask_decoder.iou_prediction_head.layers.#.weight"),
                "iou_head_hidden_dim": shapes["mask_decoder.iou_prediction_head.layers.0.weight"][0],
                # Segment Anything's own norms; transformers' default of 1e-6 shifts logits by 4e-5.
                "layer_norm_eps": 1e-5,
            },
        }
    except KeyError as error:
        raise ModelError(
            "The SAM of the checkpoint is incomplete.",
            expected="image encoder, prompt encoder and mask decoder of Segment Anything",
            found=f"no {error.args[0]}",
            where="checkpoint",
            fix="download the checkpoint again, whole",
        ) from None


_LLAMA_FIELDS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_act",
    "max_position_embeddings",
    "rms_norm_eps",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)


def llama_sizes(config: Mapping[str, Any], vocab_size: int) -> dict[str, Any]:
    """Fields of a `LlamaConfig` from the config.json of LISA, GLaMM or PRIMA.

    Args:
        config: content of config.json, the language model's fields at its top level.
        vocab_size: rows of the embedding, which count more than what config.json says.

    Raises:
        ModelError: a size that shapes do not tell is missing.
    """
    needed = ("num_attention_heads", "rms_norm_eps", "max_position_embeddings")
    missing = [name for name in needed if name not in config]
    if missing:
        raise ModelError(
            "The checkpoint's config.json does not describe its language model.",
            expected=", ".join(needed),
            found=f"no {', '.join(missing)}",
            where="config.json",
            fix="put the config.json of the published repository beside the weights",
        )
    fields = {name: config[name] for name in _LLAMA_FIELDS if config.get(name) is not None}
    # Files of LLaMA's first years name neither; 10000 was fixed then.
    theta = float(config.get("rope_theta") or 10000.0)
    scaling = dict(config.get("rope_scaling") or {})
    # One field in transformers 5, two in older files, where "rope_type" was once called "type".
    kind = scaling.pop("type", None) or scaling.pop("rope_type", None) or "default"
    return (
        {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
        | fields
        | {
            "model_type": "llama",
            "vocab_size": vocab_size,
            "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": kind, "rope_theta": theta} | scaling,
        }
    )


_NOT_OURS = ("torch_dtype", "dtype", "transformers_version", "_name_or_path", "architectures", "model_type")


def part_sizes(config: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Fields of a tower's configuration: `part` of a whole repository's config.json, or all of it."""
    # A null means the class's own default there; configurations of transformers 5 are strict about types.
    fields = config.get(part, config)
    return {name: value for name, value in fields.items() if name not in _NOT_OURS and value is not None}
