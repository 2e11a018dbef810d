"""Key templates of OMG-LLaVA's files and of InternLM2, as data; see `templates.py`.

Two kinds of tensors are taken apart first (`fused.py`), and are here under the names of their parts: queries,
keys and values of self-attention (`in_proj_weight` -> `q_proj.weight`, ...), and InternLM2's `wqkv`.

Source: the module trees of OMG-LLaVA's code (mmdetection's Mask2Former) and of InternLM2.
"""

from __future__ import annotations

from dataclasses import replace

from segue.models.conversion.rules import Rule, drops, renames, under
from segue.models.conversion.templates import CONVNEXT_TIMM

_PIXEL_DECODER: tuple[Rule, ...] = renames(
    ("input_convs.{n}.conv.{leaf}", "input_projections.{n}.0.{leaf}"),
    ("input_convs.{n}.gn.{leaf}", "input_projections.{n}.1.{leaf}"),
    ("level_encoding.weight", "level_embed"),
    ("lateral_convs.0.conv.{leaf}", "adapter_1.0.{leaf}"),
    ("lateral_convs.0.gn.{leaf}", "adapter_1.1.{leaf}"),
    ("output_convs.0.conv.{leaf}", "layer_1.0.{leaf}"),
    ("output_convs.0.gn.{leaf}", "layer_1.1.{leaf}"),
    ("mask_feature.{leaf}", "mask_projection.{leaf}"),
    ("encoder.layers.{n}.self_attn.{rest}", "encoder.layers.{n}.self_attn.{rest}"),
    ("encoder.layers.{n}.norms.0.{leaf}", "encoder.layers.{n}.self_attn_layer_norm.{leaf}"),
    ("encoder.layers.{n}.norms.1.{leaf}", "encoder.layers.{n}.final_layer_norm.{leaf}"),
    ("encoder.layers.{n}.ffn.layers.0.0.{leaf}", "encoder.layers.{n}.fc1.{leaf}"),
    ("encoder.layers.{n}.ffn.layers.1.{leaf}", "encoder.layers.{n}.fc2.{leaf}"),
)

_DECODER: tuple[Rule, ...] = renames(
    ("layers.{n}.cross_attn.attn.{rest}", "layers.{n}.cross_attn.{rest}"),
    ("layers.{n}.self_attn.attn.{rest}", "layers.{n}.self_attn.{rest}"),
    ("layers.{n}.norms.0.{leaf}", "layers.{n}.cross_attn_layer_norm.{leaf}"),
    ("layers.{n}.norms.1.{leaf}", "layers.{n}.self_attn_layer_norm.{leaf}"),
    ("layers.{n}.norms.2.{leaf}", "layers.{n}.final_layer_norm.{leaf}"),
    ("layers.{n}.ffn.layers.0.0.{leaf}", "layers.{n}.fc1.{leaf}"),
    ("layers.{n}.ffn.layers.1.{leaf}", "layers.{n}.fc2.{leaf}"),
    ("post_norm.{leaf}", "layernorm.{leaf}"),
)

# ReLUs have no weights: the layers of the head are 0, 2, 4 there and 0, 1, 2 here.
_MASK_HEAD: tuple[Rule, ...] = renames(
    *((f"{2 * k}.{{leaf}}", f"mask_predictor.mask_embedder.{k}.0.{{leaf}}") for k in range(3))
)


def _both(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The decoder of the objects, which that of the `[SEG]` starts as a copy of."""
    seeing, drawing = "perception.transformer_module.decoder.", "mask_decoder."
    return tuple(
        Rule(rule.source, tuple(place + t for place in (seeing, drawing) for t in rule.targets))
        for rule in rules
    )


def _seeing(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    return under("", "perception.transformer_module.decoder.", rules)


_HEAD: tuple[Rule, ...] = (
    *under("pixel_decoder.", "perception.pixel_decoder.", _PIXEL_DECODER),
    *renames(
        ("query_feat.weight", "perception.transformer_module.queries_features.weight"),
        ("query_embed.weight", "perception.transformer_module.queries_embedder.weight"),
        ("level_embed.weight", "perception.transformer_module.level_embed.weight"),
        ("cls_proj.{n}.{leaf}", "perception.class_projection.{n}.{leaf}"),
        ("mask_pooling_proj.{n}.{leaf}", "perception.mask_pooling.{n}.{leaf}"),
        ("mask_tokens.weight", "perception.prompt_feature.weight"),
        ("pb_embedding.weight", "perception.prompt_kind.weight"),
        ("pos_linear.{leaf}", "perception.prompt_position.{leaf}"),
    ),
    *drops("a score that nothing reads", "iou_embed.{n}.{leaf}"),
    # Learned there for a text that is always the same; a file of its own holds the result.
    *drops("the class texts have a file of their own", "cls_embed", "logit_scale"),
)

HEAD_SHARED: tuple[Rule, ...] = (
    *_HEAD,
    *under("transformer_decoder.", "", _both(_DECODER)),
    *under("mask_embed.", "", _both(_MASK_HEAD)),
)
"""`panoptic_head.` of OMG-Seg to our model, where `[SEG]` are drawn by the same decoder."""

HEAD_APART: tuple[Rule, ...] = (
    *_HEAD,
    *under("transformer_decoder.", "", _seeing(_DECODER)),
    *under("mask_embed.", "", _seeing(_MASK_HEAD)),
)
"""The same where a fine-tuned checkpoint brings a decoder for `[SEG]`, see `DRAWING`."""

DRAWING: tuple[Rule, ...] = (
    *under("transformer_decoder_llm.", "mask_decoder.", _DECODER),
    *under("mask_embed_llm.", "mask_decoder.", _MASK_HEAD),
)
"""`visual_encoder.panoptic_head.` of `finetuned_refseg.pth` and `finetuned_gcg.pth`."""

PROJECTORS: tuple[Rule, ...] = renames(
    ("projector.model.query_proj.{leaf}", "image_projection.widen.{leaf}"),
    ("projector.model.model.{n}.{leaf}", "image_projection.queries.{n}.{leaf}"),
    ("projector.model.model_feat.{n}.{leaf}", "image_projection.cells.{n}.{leaf}"),
    ("projector.model.seperate_embed.weight", "image_projection.separator.weight"),
    ("projector_text2vision.model.{n}.{leaf}", "seg_projection.{n}.{leaf}"),
)
"""The three projections; "seperate" is the published spelling."""

CLASS_TEXTS: tuple[Rule, ...] = renames(("class_text_embeddings", "perception.class_texts"))
"""What stands alone in a file of its own is called so here."""


INTERNLM2: tuple[Rule, ...] = under(
    "",
    "language_model.",
    renames(
        ("model.tok_embeddings.weight", "model.embed_tokens.weight"),
        ("output.weight", "lm_head.weight"),
        ("model.norm.weight", "model.norm.weight"),
        ("model.layers.{n}.attention.q_proj.weight", "model.layers.{n}.self_attn.q_proj.weight"),
        ("model.layers.{n}.attention.k_proj.weight", "model.layers.{n}.self_attn.k_proj.weight"),
        ("model.layers.{n}.attention.v_proj.weight", "model.layers.{n}.self_attn.v_proj.weight"),
        ("model.layers.{n}.attention.wo.weight", "model.layers.{n}.self_attn.o_proj.weight"),
        ("model.layers.{n}.feed_forward.w1.weight", "model.layers.{n}.mlp.gate_proj.weight"),
        ("model.layers.{n}.feed_forward.w3.weight", "model.layers.{n}.mlp.up_proj.weight"),
        ("model.layers.{n}.feed_forward.w2.weight", "model.layers.{n}.mlp.down_proj.weight"),
        ("model.layers.{n}.attention_norm.weight", "model.layers.{n}.input_layernorm.weight"),
        ("model.layers.{n}.ffn_norm.weight", "model.layers.{n}.post_attention_layernorm.weight"),
    ),
)
"""InternLM2 to LLaMA's names, `wqkv` taken apart."""

BACKBONE: tuple[Rule, ...] = (
    *(
        replace(
            rule,
            source="backbone." + rule.source.replace("stages.{n}", f"layer{number + 1}"),
            targets=tuple(
                "perception.backbone." + target.replace("stages.{n}", f"stages.{number}")
                for target in rule.targets
            ),
        )
        for number in range(4)
        for rule in CONVNEXT_TIMM
    ),
)
"""mmdetection's ConvNeXt, which counts the stages from 1."""
