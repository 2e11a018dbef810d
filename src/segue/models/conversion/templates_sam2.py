"""Key templates of SAM 2 in Meta's names, and of Sa2VA, which holds one.

Source: the module trees of the official code, and the names that transformers gives the same modules.
"""

from __future__ import annotations

from segue.models.conversion.rules import Rule, drops, renames, under

MEMORY = "SAM 2's memory of videos"
"""Why a tensor is left out: single pictures do not need it."""

_BLOCKS = ("image_encoder.trunk.blocks.{n}.", "vision_encoder.backbone.blocks.{n}.")
_DECODER = ("sam_mask_decoder.", "mask_decoder.")
_TRANSFORMER = ("sam_mask_decoder.transformer.", "mask_decoder.transformer.")
_ATTENTIONS = ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token")
# Three layers there; transformers names the first and the last apart and counts the rest from 0.
_THREE = (("layers.0", "proj_in"), ("layers.1", "layers.0"), ("layers.2", "proj_out"))
_TWO = (("layers.0", "proj_in"), ("layers.1", "proj_out"))

SAM2_ORIGINAL: tuple[Rule, ...] = (
    *drops(
        MEMORY,
        "memory_attention.{rest}",
        "memory_encoder.{rest}",
        "maskmem_tpos_enc",
        "no_mem_pos_enc",
        "no_obj_ptr",
        "obj_ptr_proj.{rest}",
        "mask_downsample.{rest}",
    ),
    *renames(
        ("no_mem_embed", "no_memory_embedding"),
        ("image_encoder.trunk.pos_embed", "vision_encoder.backbone.pos_embed"),
        ("image_encoder.trunk.pos_embed_window", "vision_encoder.backbone.pos_embed_window"),
        (
            "image_encoder.trunk.patch_embed.proj.{leaf}",
            "vision_encoder.backbone.patch_embed.projection.{leaf}",
        ),
        ("image_encoder.neck.convs.{n}.conv.{leaf}", "vision_encoder.neck.convs.{n}.{leaf}"),
    ),
    *under(
        *_BLOCKS,
        renames(
            ("norm{k}.{leaf}", "layer_norm{k}.{leaf}"),
            *((f"mlp.{old}.{{leaf}}", f"mlp.{new}.{{leaf}}") for old, new in _TWO),
            ("attn.{rest}", "attn.{rest}"),
            ("proj.{leaf}", "proj.{leaf}"),
        ),
    ),
    Rule(
        "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        # One matrix, two buffers: clicks and the picture's own grid are read through the same frequencies.
        (
            "shared_image_embedding.positional_embedding",
            "prompt_encoder.shared_embedding.positional_embedding",
        ),
    ),
    # Four tables of one row each there, one table of four rows here.
    *(
        Rule(
            f"sam_prompt_encoder.point_embeddings.{k}.weight",
            ("prompt_encoder.point_embed.weight",),
            part=k,
            parts=4,
            gaps=False,
        )
        for k in range(4)
    ),
    *renames(
        ("sam_prompt_encoder.not_a_point_embed.weight", "prompt_encoder.not_a_point_embed.weight"),
        ("sam_prompt_encoder.no_mask_embed.weight", "prompt_encoder.no_mask_embed.weight"),
        # 2 and 5 are GELUs, without weights.
        *(
            (
                f"sam_prompt_encoder.mask_downscaling.{k}.{{leaf}}",
                f"prompt_encoder.mask_embed.{name}.{{leaf}}",
            )
            for k, name in ((0, "conv1"), (1, "layer_norm1"), (3, "conv2"), (4, "layer_norm2"), (6, "conv3"))
        ),
    ),
    *under(
        *_TRANSFORMER,
        renames(
            ("layers.{n}.norm{k}.{leaf}", "layers.{n}.layer_norm{k}.{leaf}"),
            *((f"layers.{{n}}.mlp.{old}.{{leaf}}", f"layers.{{n}}.mlp.{new}.{{leaf}}") for old, new in _TWO),
            *(
                pair
                for name in (*(f"layers.{{n}}.{name}" for name in _ATTENTIONS), "final_attn_token_to_image")
                for pair in (
                    (f"{name}.out_proj.{{leaf}}", f"{name}.o_proj.{{leaf}}"),
                    (f"{name}.{{rest}}", f"{name}.{{rest}}"),
                )
            ),
            ("norm_final_attn.{leaf}", "layer_norm_final_attn.{leaf}"),
        ),
    ),
    *under(
        *_DECODER,
        renames(
            *((f"{name}.{{leaf}}", f"{name}.{{leaf}}") for name in ("iou_token", "mask_tokens")),
            *((f"{name}.{{leaf}}", f"{name}.{{leaf}}") for name in ("obj_score_token", "conv_s0", "conv_s1")),
            ("output_upscaling.0.{leaf}", "upscale_conv1.{leaf}"),
            ("output_upscaling.1.{leaf}", "upscale_layer_norm.{leaf}"),
            ("output_upscaling.3.{leaf}", "upscale_conv2.{leaf}"),
            *(
                (f"{name}.{old}.{{leaf}}", f"{name}.{new}.{{leaf}}")
                for name in ("iou_prediction_head", "pred_obj_score_head", "output_hypernetworks_mlps.{n}")
                for old, new in _THREE
            ),
        ),
    ),
)
"""SAM 2 to `Sam2Model`; total for the half that sees single pictures and the memory of 2.0."""

SAM2_PREFIX = "grounding_encoder.sam2_model."

SA2VA: tuple[Rule, ...] = (
    *renames(
        ("model.model.{rest}", "language_model.model.{rest}"),
        ("model.lm_head.weight", "language_model.lm_head.weight"),
        ("text_hidden_fcs.{n}.{leaf}", "seg_projection.{n}.{leaf}"),
    ),
    *under(SAM2_PREFIX, "sam.", SAM2_ORIGINAL),
)
"""Sa2VA on Qwen3-VL (2B, 4B) to `Sa2vaModel`."""
