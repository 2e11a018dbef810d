"""Layouts that the authors' PRIMA checkpoint may have: GLaMM's tree with LAVIS's modules inside, tiny."""

from __future__ import annotations

from official import LLAMA_7B, TINY_SAM, official_shapes
from segue.models.conversion import target_shapes
from segue.models.presets import preset

Shape = tuple[int, ...]


def labelled(label: str, shapes: dict[str, Shape]) -> dict[str, Shape]:
    return {label + name: shape for name, shape in shapes.items()}


LAVIS_EVA = {  # a block of EVA-CLIP-g and what stands around it, as LAVIS names them
    "cls_token": (1, 1, 176), "pos_embed": (1, 17, 176), "patch_embed.proj.weight": (176, 3, 14, 14),
    "patch_embed.proj.bias": (176,), "blocks.0.norm1.weight": (176,), "blocks.0.norm1.bias": (176,),
    "blocks.0.norm2.weight": (176,), "blocks.0.norm2.bias": (176,), "blocks.0.attn.q_bias": (176,),
    "blocks.0.attn.v_bias": (176,), "blocks.0.attn.qkv.weight": (528, 176),
    "blocks.0.attn.proj.weight": (176, 176), "blocks.0.attn.proj.bias": (176,),
    "blocks.0.mlp.fc1.weight": (352, 176), "blocks.0.mlp.fc1.bias": (352,),
    "blocks.0.mlp.fc2.weight": (176, 352), "blocks.0.mlp.fc2.bias": (176,),
}  # fmt: skip
TINY_LLAMA = LLAMA_7B | {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
    "vocab_size": 400, "max_position_embeddings": 512,
}  # fmt: skip


def authors_like(rename: bool = False) -> dict[str, Shape]:
    """What the authors' checkpoint may look like: GLaMM's tree with LAVIS's modules inside."""
    shapes = dict(official_shapes("glamm", TINY_LLAMA, TINY_SAM, 24))
    shapes = {n: s for n, s in shapes.items() if "mm_projector" not in n}
    tree = "model.visual_encoder." if not rename else "model.vision_tower.encoder."
    shapes |= labelled(tree, dict(LAVIS_EVA))
    shapes |= labelled("model.ln_vision.", {"weight": (176,), "bias": (176,)})
    config = preset("prima-7b").config().qformer_config
    config = type(config)(
        **(config.to_dict() | {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1,
                               "intermediate_size": 256, "encoder_hidden_size": 176, "vocab_size": 90})
    )  # fmt: skip
    from transformers.models.instructblip import InstructBlipQFormerModel

    for name, shape in target_shapes(InstructBlipQFormerModel, config).items():
        lavis = name.replace("embeddings.layernorm", "embeddings.LayerNorm")
        lavis = lavis.replace("attention.attention.", "attention.self.")
        shapes[f"model.Qformer.bert.{lavis}"] = shape
    shapes |= {
        "model.query_tokens": (1, 8, 64), "model.square.relational_queries": (1, 8, 64),
        "model.square.attn.q_proj.weight": (64, 64), "model.square.attn.k_proj.weight": (64, 176),
        "model.square.attn.v_proj.weight": (64, 176), "model.square.attn.in_proj_bias": (192,),
        "model.square.attn.out_proj.weight": (64, 64), "model.square.attn.out_proj.bias": (64,),
        "model.mm_projector.weight": (32, 64), "model.mm_projector.bias": (32,),
    }  # fmt: skip
    return shapes
