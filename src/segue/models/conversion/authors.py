"""The authors' PRIMA checkpoint, whose names are not published: routed by pattern and by shape.

What can be recognised: SAM, the language model, `[SEG]`'s projection, EVA-CLIP-g (LAVIS's or transformers'
names), the Q-Former (likewise), its queries, the projection into the language model, SQuARE's queries and
attention. Everything else stays over and is named with its shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from segue import protocol
from segue.errors import ModelError
from segue.models.configuration_grounded import PrimaConfig
from segue.models.conversion.checkpoints import Checkpoint
from segue.models.conversion.families import GLAMM_TOKENS, IMAGE_WRAP, target_shapes
from segue.models.conversion.initialise import bert_tokenizer, dinov2_sizes, fresh_tensors
from segue.models.conversion.plan import Shape, plan
from segue.models.conversion.rules import Rule, drops, renames, under
from segue.models.conversion.sizes import count, llama_sizes, sam_sizes, strip_prefix
from segue.models.conversion.streaming import joined_shapes, write_converted
from segue.models.conversion.templates import (
    DINOV2,
    EVA_HF,
    EVA_ORIGINAL,
    LLAMA,
    QFORMER_HF,
    QFORMER_ORIGINAL,
    SAM_ORIGINAL,
    SEG_PROJECTION,
)
from segue.models.conversion.tokenizers import load_tokenizer
from segue.models.conversion.writing import ShardWriter
from segue.models.image_streams import streams_for
from segue.models.modeling_prima import PrimaModel
from segue.models.processing_grounded import PrimaProcessor

FRESH_WITHOUT_DINO = ("fusion.",)
"""Fusion starts as the identity, so a model that was trained without DINOv2 answers the same with it."""


def find_prefix(names: Mapping[str, Any], ending: str, beside: str = "") -> str | None:
    """The prefix before `ending` in the one name that ends so (and has `beside` next to it)."""
    found = [name.removesuffix(ending) for name in names if name.endswith(ending)]
    found = [prefix for prefix in found if not beside or prefix + beside in names]
    # The shortest: "" wins over a copy of the same module deeper inside another part.
    return min(found, key=len) if found else None


def prima_rules(shapes: Mapping[str, Shape], hidden: int, width: int) -> tuple[Rule, ...]:
    """Rules made for the names at hand.

    Args:
        shapes: of the checkpoint.
        hidden: width of the language model.
        width: width of the Q-Former.
    """
    rules: list[Rule] = []
    sam = find_prefix(shapes, "image_encoder.pos_embed")
    if sam is not None:
        rules += under(sam, "sam.", SAM_ORIGINAL)
    eva = find_prefix(shapes, "cls_token", beside="blocks.0.attn.qkv.weight")
    eva_hf = find_prefix(shapes, "embeddings.class_embedding", beside="encoder.layers.0.self_attn.qkv.weight")
    if eva is not None:
        rules += under(eva, "vision_model.", EVA_ORIGINAL)
    elif eva_hf is not None:
        rules += under(eva_hf, "vision_model.", EVA_HF)
    # LAVIS keeps this norm beside the tower; transformers has it inside, as `post_layernorm`.
    norm = find_prefix(shapes, "ln_vision.weight")
    if norm is not None:
        rules += renames((norm + "ln_vision.{leaf}", "vision_model.post_layernorm.{leaf}"))
    qformer = find_prefix(shapes, "bert.embeddings.position_embeddings.weight")
    qformer_hf = find_prefix(
        shapes,
        "embeddings.position_embeddings.weight",
        beside="encoder.layer.0.attention.attention.query.weight",
    )
    if qformer is not None:
        rules += under(qformer, "reader.qformer.", QFORMER_ORIGINAL)
    elif qformer_hf is not None:
        rules += under(qformer_hf, "reader.qformer.", QFORMER_HF)
    seg = find_prefix(shapes, "text_hidden_fcs.0.0.weight")
    if seg is not None:
        rules += under(seg, "seg_projection.", SEG_PROJECTION)
    language = find_prefix(shapes, "model.embed_tokens.weight")
    if language is not None:
        rules += under(language, "language_model.", LLAMA)
    rules += drops("reads boxes drawn by the user; captions of regions only", "model.region_encoder.{rest}")
    placed = [name for name in shapes if any(rule.apply(name) is not None for rule in rules)]
    # Patterns first, shapes last: at 768 a Q-Former's own matrices look like any other matrix of that width.
    rules += _by_shape({n: s for n, s in shapes.items() if n not in set(placed)}, hidden, width)
    return tuple(rules)


_ATTENTION = ("q_proj", "k_proj", "v_proj")


def _by_shape(rest: Mapping[str, Shape], hidden: int, width: int) -> list[Rule]:
    """Rules for what patterns did not place: queries and projection, told apart by shape and a word."""
    rules: list[Rule] = []
    for name, shape in rest.items():
        lower = name.lower()
        relational = any(word in lower for word in ("relation", "square", "rel_"))
        # `(1, 32, 768)`: the one tensor of three dimensions that a set of learnable queries can be.
        if len(shape) == 3 and shape[0] == 1 and shape[2] == width:
            rules += renames((name, "reader.relational.queries" if relational else "reader.query_tokens"))
        # `(4096, 768)`: a linear layer's weight is (out, in); this one leads from the Q-Former to words.
        elif shape == (hidden, width):
            rules += renames((name, "image_projection.weight"))
            bias = name.removesuffix("weight") + "bias"
            if rest.get(bias) == (hidden,):
                rules += renames((bias, "image_projection.bias"))
        elif relational and len(shape) == 2 and shape[0] == width:
            for part in _ATTENTION:
                if f"{part}.weight" in lower or f"{part}_weight" in lower:
                    rules += renames((name, f"reader.relational.attention.{part}_weight"))
            if "out_proj.weight" in lower or "o_proj.weight" in lower:
                rules += renames((name, "reader.relational.attention.out_proj.weight"))
        elif relational and shape == (width,) and ("out_proj.bias" in lower or "o_proj.bias" in lower):
            rules += renames((name, "reader.relational.attention.out_proj.bias"))
        elif relational and shape == (3 * width,) and lower.endswith("in_proj_bias"):
            rules += renames((name, "reader.relational.attention.in_proj_bias"))
    return rules


def prima_config(checkpoint: Checkpoint, dinov2: Checkpoint | None) -> PrimaConfig:
    """The configuration of the authors' checkpoint, its sizes read from shapes.

    Raises:
        ModelError: a part is missing without which the sizes cannot be known.
    """
    shapes = checkpoint.shapes
    language = _prefix(shapes, "model.embed_tokens.weight", "a LLaMA language model")
    sam = _prefix(shapes, "image_encoder.pos_embed", "SAM's image encoder")
    rows = shapes[language + "model.embed_tokens.weight"][0]
    words = next((n for n in shapes if n.endswith("embeddings.position_embeddings.weight")), None)
    if words is None:
        raise _lacking("a Q-Former")
    width = shapes[words][1]
    queries = next((s[1] for n, s in shapes.items() if n.endswith("query_tokens") and len(s) == 3), 32)
    text = llama_sizes(checkpoint.config.get("text_config") or checkpoint.config, rows)
    square = any("relation" in n.lower() or "square" in n.lower() for n in shapes)
    stem = words.removesuffix("embeddings.position_embeddings.weight")
    # 30523 is InstructBLIP's: BERT's 30522 pieces and BLIP-2's `[DEC]`.
    vocabulary = shapes.get(stem + "embeddings.word_embeddings.weight", (30523, width))[0]
    return PrimaConfig(
        visual_module="square" if square else "fusion",
        vision_config=_eva_sizes(shapes),
        aux_vision_config=dinov2_sizes(dinov2.config if dinov2 else {}),
        qformer_config={
            "vocab_size": vocabulary,
            "hidden_size": width,
            "num_hidden_layers": count(
                {n[len(stem) :]: s for n, s in shapes.items() if n.startswith(stem)},
                "encoder.layer.#.attention.output.dense.weight",
            ),
            # Shapes do not tell heads. BERT's are 64 wide.
            "num_attention_heads": max(1, width // 64),
            "intermediate_size": 4 * width,
            "max_position_embeddings": shapes[words][0],
        },
        text_config=text,
        sam_config=sam_sizes(strip_prefix(shapes, sam)),
        num_query_tokens=queries,
        image_token_id=rows,
    )


def _eva_sizes(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    original = find_prefix(shapes, "cls_token", beside="blocks.0.attn.qkv.weight")
    if original is not None:
        own = strip_prefix(shapes, original)
        width, patch = own["cls_token"][-1], own["patch_embed.proj.weight"][-1]
        # 257 positions are 16 x 16 patches and the class token: (257 - 1) ** 0.5 * 14 = 224 pixels.
        length, depth = own["pos_embed"][1], count(own, "blocks.#.norm1.weight")
        inner = own["blocks.0.mlp.fc1.weight"][0]
    else:
        own = strip_prefix(shapes, _prefix(shapes, "embeddings.class_embedding", "EVA-CLIP"))
        width, patch = own["embeddings.class_embedding"][-1], own["embeddings.patch_embedding.weight"][-1]
        length = own["embeddings.position_embedding"][1]
        depth = count(own, "encoder.layers.#.layer_norm1.weight")
        inner = own["encoder.layers.0.mlp.fc1.weight"][0]
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": depth,
        # EVA-CLIP-g has 16 heads of 88.
        "num_attention_heads": max(1, width // 88),
        "image_size": round((length - 1) ** 0.5) * patch,
        "patch_size": patch,
    }


def convert_prima(
    checkpoint: Checkpoint,
    folder: Path,
    dtype: torch.dtype,
    shard_bytes: int,
    *,
    dinov2: Checkpoint | None = None,
    bert: Path | None = None,
) -> list[str]:
    """Convert the authors' checkpoint; without DINOv2 in it, DINOv2 comes from its own repository."""
    config = prima_config(checkpoint, dinov2)
    base = checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent
    rows = int(config.text_config.vocab_size)
    tokenizer = load_tokenizer(base, GLAMM_TOKENS, rows, int(config.text_config.max_position_embeddings))
    # Asked of the tokenizer after it was made: a folder may have the tokens at other ids than GLaMM.
    config.seg_token_id = int(tokenizer.convert_tokens_to_ids(protocol.SEG_TOKEN))
    config.image_token_id = int(tokenizer.convert_tokens_to_ids(protocol.IMAGE_TOKEN))
    checkpoints = {"": checkpoint} | ({"dinov2:": dinov2} if dinov2 else {})
    shapes = target_shapes(PrimaModel, config)
    rules = prima_rules(
        checkpoint.shapes, int(config.text_config.hidden_size), int(config.qformer_config.hidden_size)
    )
    rules += under("dinov2:", "aux_vision_model.", DINOV2)
    planned = plan(
        joined_shapes(checkpoints), shapes, rules, fresh=FRESH_WITHOUT_DINO, where=str(checkpoint.path)
    )
    with ShardWriter(folder, shapes, dtype, shard_bytes) as writer:
        write_converted(checkpoints, planned, shapes, writer, fresh_tensors(config, planned.fresh, seed=0))
    config.architectures, config.dtype = ["PrimaModel"], dtype
    config.save_pretrained(folder)
    PrimaProcessor(
        tokenizer,
        bert_tokenizer(base, bert),
        image_streams=streams_for(config),
        num_query_tokens=config.num_query_tokens,
        keep_text_outputs=config.keep_text_outputs,
        image_wrap=list(IMAGE_WRAP),
    ).save_pretrained(folder)
    return planned.summary()


def _prefix(shapes: Mapping[str, Shape], ending: str, what: str) -> str:
    prefix = find_prefix(shapes, ending)
    if prefix is None:
        raise _lacking(what)
    return prefix


def _lacking(what: str) -> ModelError:
    return ModelError(
        "The PRIMA checkpoint lacks a part.",
        expected=what,
        found="none of its names",
        where="names of the tensors",
        fix="download the checkpoint again, whole; report the names if it is whole",
    )
