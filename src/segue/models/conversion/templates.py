"""Key templates of the public checkpoints, as data; every name that they do not know is an error.

Source: the module trees of the official code (GLaMM, LISA, Segment Anything, LAVIS) and the names that
transformers gives the same modules.
"""

from __future__ import annotations

from dataclasses import replace

from segue.models.conversion.rules import Rule, drops, renames, under

SAM_ORIGINAL: tuple[Rule, ...] = (
    *renames(
        ("image_encoder.pos_embed", "vision_encoder.pos_embed"),
        ("image_encoder.patch_embed.proj.{leaf}", "vision_encoder.patch_embed.projection.{leaf}"),
        # Before the rule with {rest}, which would take the norms along under their old names.
        ("image_encoder.blocks.{n}.norm{k}.{leaf}", "vision_encoder.layers.{n}.layer_norm{k}.{leaf}"),
        ("image_encoder.blocks.{n}.{rest}", "vision_encoder.layers.{n}.{rest}"),
        ("image_encoder.neck.0.{leaf}", "vision_encoder.neck.conv1.{leaf}"),
        ("image_encoder.neck.1.{leaf}", "vision_encoder.neck.layer_norm1.{leaf}"),
        ("image_encoder.neck.2.{leaf}", "vision_encoder.neck.conv2.{leaf}"),
        ("image_encoder.neck.3.{leaf}", "vision_encoder.neck.layer_norm2.{leaf}"),
        ("prompt_encoder.point_embeddings.{n}.{leaf}", "prompt_encoder.point_embed.{n}.{leaf}"),
        ("prompt_encoder.not_a_point_embed.{leaf}", "prompt_encoder.not_a_point_embed.{leaf}"),
        ("prompt_encoder.no_mask_embed.{leaf}", "prompt_encoder.no_mask_embed.{leaf}"),
        # 2 and 5 are GELUs, without weights.
        ("prompt_encoder.mask_downscaling.0.{leaf}", "prompt_encoder.mask_embed.conv1.{leaf}"),
        ("prompt_encoder.mask_downscaling.1.{leaf}", "prompt_encoder.mask_embed.layer_norm1.{leaf}"),
        ("prompt_encoder.mask_downscaling.3.{leaf}", "prompt_encoder.mask_embed.conv2.{leaf}"),
        ("prompt_encoder.mask_downscaling.4.{leaf}", "prompt_encoder.mask_embed.layer_norm2.{leaf}"),
        ("prompt_encoder.mask_downscaling.6.{leaf}", "prompt_encoder.mask_embed.conv3.{leaf}"),
        (
            "mask_decoder.transformer.layers.{n}.norm{k}.{leaf}",
            "mask_decoder.transformer.layers.{n}.layer_norm{k}.{leaf}",
        ),
        (
            "mask_decoder.transformer.norm_final_attn.{leaf}",
            "mask_decoder.transformer.layer_norm_final_attn.{leaf}",
        ),
        ("mask_decoder.transformer.{rest}", "mask_decoder.transformer.{rest}"),
        ("mask_decoder.iou_token.{leaf}", "mask_decoder.iou_token.{leaf}"),
        ("mask_decoder.mask_tokens.{leaf}", "mask_decoder.mask_tokens.{leaf}"),
        ("mask_decoder.output_upscaling.0.{leaf}", "mask_decoder.upscale_conv1.{leaf}"),
        ("mask_decoder.output_upscaling.1.{leaf}", "mask_decoder.upscale_layer_norm.{leaf}"),
        ("mask_decoder.output_upscaling.3.{leaf}", "mask_decoder.upscale_conv2.{leaf}"),
        (
            # Three layers there; transformers names the first and the last apart and counts the rest from 0.
            "mask_decoder.output_hypernetworks_mlps.{n}.layers.0.{leaf}",
            "mask_decoder.output_hypernetworks_mlps.{n}.proj_in.{leaf}",
        ),
        (
            "mask_decoder.output_hypernetworks_mlps.{n}.layers.1.{leaf}",
            "mask_decoder.output_hypernetworks_mlps.{n}.layers.0.{leaf}",
        ),
        (
            "mask_decoder.output_hypernetworks_mlps.{n}.layers.2.{leaf}",
            "mask_decoder.output_hypernetworks_mlps.{n}.proj_out.{leaf}",
        ),
        (
            "mask_decoder.iou_prediction_head.layers.0.{leaf}",
            "mask_decoder.iou_prediction_head.proj_in.{leaf}",
        ),
        (
            "mask_decoder.iou_prediction_head.layers.1.{leaf}",
            "mask_decoder.iou_prediction_head.layers.0.{leaf}",
        ),
        (
            "mask_decoder.iou_prediction_head.layers.2.{leaf}",
            "mask_decoder.iou_prediction_head.proj_out.{leaf}",
        ),
    ),
    Rule(
        # One matrix there, two copies of it here.
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        (
            "prompt_encoder.shared_embedding.positional_embedding",
            "shared_image_embedding.positional_embedding",
        ),
    ),
    *drops("a constant of the preprocessing", "pixel_mean", "pixel_std"),
)
"""Segment Anything's own names to `SamModel`."""

_SHARED = "prompt_encoder.shared_embedding.positional_embedding"
SAM_HF: tuple[Rule, ...] = (
    Rule(
        "shared_image_embedding.positional_embedding",
        ("shared_image_embedding.positional_embedding", _SHARED),
    ),
    *drops("a copy of shared_image_embedding.positional_embedding", _SHARED),
    *renames(
        ("vision_encoder.{rest}", "vision_encoder.{rest}"),
        ("prompt_encoder.{rest}", "prompt_encoder.{rest}"),
        ("mask_decoder.{rest}", "mask_decoder.{rest}"),
    ),
)
"""`SamModel`'s names to themselves."""

LLAMA: tuple[Rule, ...] = (
    *drops("computed from the configuration", "model.layers.{n}.self_attn.rotary_emb.inv_freq"),
    *renames(
        ("model.embed_tokens.weight", "model.embed_tokens.weight"),
        ("model.layers.{n}.{rest}", "model.layers.{n}.{rest}"),
        ("model.norm.weight", "model.norm.weight"),
        ("lm_head.weight", "lm_head.weight"),
    ),
)
"""`LlamaForCausalLM`'s names to themselves."""

CLIP: tuple[Rule, ...] = (
    *drops("computed from the configuration", "vision_model.embeddings.position_ids"),
    *renames(("vision_model.{rest}", "{rest}")),
)
"""A CLIP vision tower, whose files still carry the prefix that `CLIPVisionModel` has dropped."""

CLIP_REPOSITORY: tuple[Rule, ...] = (
    *CLIP,
    *drops(
        "CLIP's text half",
        "text_model.{rest}",
        "text_projection.weight",
        "visual_projection.weight",
        "logit_scale",
    ),
)
"""A whole CLIP repository, of which the vision tower is wanted."""

SEG_PROJECTION: tuple[Rule, ...] = renames(
    ("text_hidden_fcs.0.0.{leaf}", "0.{leaf}"), ("text_hidden_fcs.0.2.{leaf}", "2.{leaf}")
)

_COMMON: tuple[Rule, ...] = (
    *under("model.", "seg_projection.", SEG_PROJECTION),
    *under("model.vision_tower.vision_tower.", "vision_model.", CLIP),
    *under("clip:", "vision_model.", CLIP_REPOSITORY),
)

GLAMM: tuple[Rule, ...] = (
    *under("model.grounding_encoder.", "sam.", SAM_ORIGINAL),
    *_COMMON,
    *renames(("model.mm_projector.{n}.{leaf}", "image_projection.{n}.{leaf}")),
    *drops("reads boxes drawn by the user; captions of regions only", "model.region_encoder.{rest}"),
    *under("", "language_model.", LLAMA),
)
"""GLaMM (all published variants) to `GlammModel`; `clip:` names come from the CLIP repository."""

LISA: tuple[Rule, ...] = (
    *under("model.visual_model.", "sam.", SAM_ORIGINAL),
    *_COMMON,
    *renames(("model.mm_projector.{leaf}", "image_projection.0.{leaf}")),
    *under("", "language_model.", LLAMA),
)
"""LISA (7B and 13B) to `LisaModel`."""

_CONVNEXT_TEXT = "OpenCLIP's head and text half"
CONVNEXT_TIMM: tuple[Rule, ...] = (
    *renames(
        ("stem.0.{leaf}", "embeddings.patch_embeddings.{leaf}"),
        ("stem.1.{leaf}", "embeddings.layernorm.{leaf}"),
        ("stages.{n}.downsample.{k}.{leaf}", "encoder.stages.{n}.downsampling_layer.{k}.{leaf}"),
        ("stages.{n}.blocks.{k}.gamma", "encoder.stages.{n}.layers.{k}.layer_scale_parameter"),
        ("stages.{n}.blocks.{k}.conv_dw.{leaf}", "encoder.stages.{n}.layers.{k}.dwconv.{leaf}"),
        ("stages.{n}.blocks.{k}.norm.{leaf}", "encoder.stages.{n}.layers.{k}.layernorm.{leaf}"),
        ("stages.{n}.blocks.{k}.mlp.fc1.{leaf}", "encoder.stages.{n}.layers.{k}.pwconv1.{leaf}"),
        ("stages.{n}.blocks.{k}.mlp.fc2.{leaf}", "encoder.stages.{n}.layers.{k}.pwconv2.{leaf}"),
    ),
    *drops(_CONVNEXT_TEXT, "norm_pre.{leaf}", "head.{rest}"),
)
"""timm's ConvNeXt, as OpenCLIP has it for a trunk, to `ConvNextModel` without its last norm."""

CONVNEXT_REPOSITORY: tuple[Rule, ...] = (
    *under("visual.trunk.", "", CONVNEXT_TIMM),
    *drops(
        _CONVNEXT_TEXT,
        *("visual.head.{rest}", "text.{rest}", "transformer.{rest}", "token_embedding.weight"),
        *("positional_embedding", "text_projection", "ln_final.{leaf}", "logit_scale", "logit_bias"),
        "attn_mask",
    ),
    *CONVNEXT_TIMM,
    *renames(("embeddings.{rest}", "embeddings.{rest}"), ("encoder.{rest}", "encoder.{rest}")),
    *drops("the norm of the pooled map, which is not read", "layernorm.{leaf}"),
)
"""A whole OpenCLIP repository, a timm file, or `ConvNextModel`'s own names."""

# `vision_stem`, `vision_stages`: MIRAS keeps the trunk alone, under names of its own.
_TOWER_MIRAS = tuple(
    replace(rule, source=f"vision_{rule.source}") for rule in CONVNEXT_TIMM if rule.source[:2] == "st"
)

PATCH_MINING: tuple[Rule, ...] = renames(
    ("vlm_uni_query_projector.{n}.{leaf}", "query.{n}.{leaf}"),
    ("vlm_uni_aux_projector.{n}.{leaf}", "key.{n}.{leaf}"),
    ("vlm_uni_val_projector.{n}.{leaf}", "value.{n}.{leaf}"),
)

MIRAS_PARTS: tuple[Rule, ...] = (
    *under("clip:", "vision_model.", CLIP_REPOSITORY),
    *under("convnext:", "aux_vision_model.", CONVNEXT_REPOSITORY),
)
"""Encoders that MIRAS and LLaVA checkpoints leave out, from their own repositories."""

MIRAS: tuple[Rule, ...] = (
    *under("model.visual_model.", "sam.", SAM_ORIGINAL),
    *under("model.", "seg_projection.", SEG_PROJECTION),
    # The longer name first: one is a prefix of the other.
    *under("model.vision_tower_aux.", "aux_vision_model.", _TOWER_MIRAS),
    *under("model.vision_tower.vision_tower.", "vision_model.", CLIP),
    *under("model.", "fusion.", PATCH_MINING),
    *renames(("model.mm_projector.{n}.{leaf}", "image_projection.{n}.{leaf}")),
    *renames(("model.mm_projector.{leaf}", "image_projection.0.{leaf}")),
    *under("", "language_model.", LLAMA),
    *MIRAS_PARTS,
)
"""MIRAS's, Mini-Gemini's and LLaVA's official names to `MirasModel`; SAM and `[SEG]` where there are any."""

LLAVA_HF: tuple[Rule, ...] = (
    *under("language_model.", "language_model.", LLAMA),
    *under("vision_tower.", "vision_model.", CLIP),
    *renames(
        ("multi_modal_projector.linear_1.{leaf}", "image_projection.0.{leaf}"),
        ("multi_modal_projector.linear_2.{leaf}", "image_projection.2.{leaf}"),
    ),
    # The same since transformers 4.52.
    *renames(
        ("model.language_model.{rest}", "language_model.model.{rest}"),
        ("lm_head.weight", "language_model.lm_head.weight"),
        ("model.multi_modal_projector.linear_1.{leaf}", "image_projection.0.{leaf}"),
        ("model.multi_modal_projector.linear_2.{leaf}", "image_projection.2.{leaf}"),
    ),
    *under("model.vision_tower.", "vision_model.", CLIP),
    *MIRAS_PARTS,
)
"""LLaVA-1.5 under the names that transformers gives it, to `MirasModel`."""

EVA_HF: tuple[Rule, ...] = renames(
    ("embeddings.{rest}", "embeddings.{rest}"),
    ("encoder.{rest}", "encoder.{rest}"),
    ("post_layernorm.{leaf}", "post_layernorm.{leaf}"),
)
"""`InstructBlipVisionModel`'s names to themselves."""

EVA_ORIGINAL: tuple[Rule, ...] = (
    *renames(
        ("cls_token", "embeddings.class_embedding"),
        ("pos_embed", "embeddings.position_embedding"),
        ("patch_embed.proj.{leaf}", "embeddings.patch_embedding.{leaf}"),
        ("blocks.{n}.norm{k}.{leaf}", "encoder.layers.{n}.layer_norm{k}.{leaf}"),
        ("blocks.{n}.attn.qkv.{leaf}", "encoder.layers.{n}.self_attn.qkv.{leaf}"),
        ("blocks.{n}.attn.proj.{leaf}", "encoder.layers.{n}.self_attn.projection.{leaf}"),
        ("blocks.{n}.mlp.fc{k}.{leaf}", "encoder.layers.{n}.mlp.fc{k}.{leaf}"),
    ),
    Rule("blocks.{n}.attn.q_bias", ("encoder.layers.{n}.self_attn.qkv.bias",), part=0),
    Rule("blocks.{n}.attn.v_bias", ("encoder.layers.{n}.self_attn.qkv.bias",), part=2),
)
"""EVA-CLIP-g as LAVIS names it. Its final norm stands beside it there, as `ln_vision`."""

QFORMER_HF: tuple[Rule, ...] = (
    *drops("computed from the configuration", "embeddings.position_ids"),
    *renames(("embeddings.{rest}", "embeddings.{rest}"), ("encoder.{rest}", "encoder.{rest}")),
)
"""`InstructBlipQFormerModel`'s names to themselves."""

_QFORMER_LAVIS: tuple[Rule, ...] = (
    *drops("computed from the configuration", "embeddings.position_ids"),
    *renames(
        ("embeddings.LayerNorm.{leaf}", "embeddings.layernorm.{leaf}"),
        ("embeddings.{rest}", "embeddings.{rest}"),
        ("encoder.layer.{n}.attention.self.{rest}", "encoder.layer.{n}.attention.attention.{rest}"),
        ("encoder.layer.{n}.crossattention.self.{rest}", "encoder.layer.{n}.crossattention.attention.{rest}"),
        ("encoder.layer.{n}.{rest}", "encoder.layer.{n}.{rest}"),
    ),
)
QFORMER_ORIGINAL: tuple[Rule, ...] = (
    *under("bert.", "", _QFORMER_LAVIS),
    *drops("the head of a pretraining task", "cls.{rest}"),
)
"""The Q-Former as LAVIS names it."""

QFORMER_BERT: tuple[Rule, ...] = _QFORMER_LAVIS
"""The same where the model was taken out of LAVIS's wrapper, without `bert.`."""

INSTRUCTBLIP_LANGUAGE: tuple[Rule, ...] = drops(
    "InstructBLIP's own language model", "language_model.{rest}", "language_projection.{leaf}"
)

INSTRUCTBLIP: tuple[Rule, ...] = (
    *under("vision_model.", "vision_model.", EVA_HF),
    *under("qformer.", "reader.qformer.", QFORMER_HF),
    *renames(("query_tokens", "reader.query_tokens")),
    *INSTRUCTBLIP_LANGUAGE,
)
"""InstructBLIP's vision tower, Q-Former and queries to the names that they have in `PrimaModel`."""

DINOV2: tuple[Rule, ...] = (
    *renames(
        # Longer names before {rest}, which takes all others as they are.
        ("encoder.layer.{n}.attention.attention.query.{leaf}", "encoder.layer.{n}.attention.q_proj.{leaf}"),
        ("encoder.layer.{n}.attention.attention.key.{leaf}", "encoder.layer.{n}.attention.k_proj.{leaf}"),
        ("encoder.layer.{n}.attention.attention.value.{leaf}", "encoder.layer.{n}.attention.v_proj.{leaf}"),
        ("encoder.layer.{n}.attention.output.dense.{leaf}", "encoder.layer.{n}.attention.o_proj.{leaf}"),
        ("{rest}", "{rest}"),
    ),
)
"""DINOv2 with registers: the names of its files to those that transformers 5 gives the same modules."""

DINOV2_ORIGINAL: tuple[Rule, ...] = (
    *renames(
        ("cls_token", "embeddings.cls_token"),
        ("pos_embed", "embeddings.position_embeddings"),
        ("register_tokens", "embeddings.register_tokens"),
        # (1, 1024) in both; it takes the place of masked patches while DINOv2 is trained.
        ("mask_token", "embeddings.mask_token"),
        ("patch_embed.proj.{leaf}", "embeddings.patch_embeddings.projection.{leaf}"),
        ("blocks.{n}.norm{k}.{leaf}", "encoder.layer.{n}.norm{k}.{leaf}"),
        ("blocks.{n}.attn.proj.{leaf}", "encoder.layer.{n}.attention.o_proj.{leaf}"),
        ("blocks.{n}.ls{k}.gamma", "encoder.layer.{n}.layer_scale{k}.lambda1"),
        ("blocks.{n}.mlp.fc{k}.{leaf}", "encoder.layer.{n}.mlp.fc{k}.{leaf}"),
        ("norm.{leaf}", "layernorm.{leaf}"),
    ),
    Rule(
        "blocks.{n}.attn.qkv.{leaf}",
        tuple(f"encoder.layer.{{n}}.attention.{part}_proj.{{leaf}}" for part in "qkv"),
        split=True,
    ),
)
"""DINOv2 as its authors name it, to the names that transformers 5 gives the same modules."""

PRIMA_FROM_PARTS: tuple[Rule, ...] = (
    *under("glamm:model.grounding_encoder.", "sam.", SAM_ORIGINAL),
    *under("glamm:model.", "seg_projection.", SEG_PROJECTION),
    *drops(
        "GLaMM's way from pictures to tokens, which PRIMA replaces",
        "glamm:model.vision_tower.{rest}",
        "glamm:model.mm_projector.{rest}",
        "glamm:model.region_encoder.{rest}",
    ),
    *under("glamm:", "language_model.", LLAMA),
    *under("instructblip:", "", INSTRUCTBLIP),
    *under("dinov2:", "aux_vision_model.", DINOV2),
)
"""The parts that `prima-7b` starts from. Source: PRIMA section 3.2 and appendix C."""
