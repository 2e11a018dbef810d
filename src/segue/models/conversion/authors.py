"""The authors' PRIMA checkpoint, whose names are not published: routed by pattern and by shape.

What can be recognised: SAM, the language model, `[SEG]`'s projection, EVA-CLIP-g (LAVIS's or transformers'
names), the Q-Former (likewise), its queries, the projection into the language model, SQuARE's queries and
attention. Everything else stays over and is named with its shape; `prima_names.py` does the finding.
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
from segue.models.conversion.plan import Shape, Target, plan
from segue.models.conversion.prima_names import Parts, find_parts, find_prefix, find_qformer
from segue.models.conversion.rules import Rule, under
from segue.models.conversion.sizes import count, llama_sizes, sam_sizes, strip_prefix
from segue.models.conversion.streaming import joined_shapes, write_converted
from segue.models.conversion.templates import DINOV2, QFORMER_ORIGINAL
from segue.models.conversion.tokenizers import load_tokenizer
from segue.models.conversion.writing import ShardWriter
from segue.models.image_streams import streams_for
from segue.models.modeling_prima import PrimaModel
from segue.models.processing_grounded import PrimaProcessor

FRESH_WITHOUT_DINO = ("fusion.",)
"""Fusion starts as the identity, so a model that was trained without DINOv2 answers the same with it."""


def prima_rules(shapes: Mapping[str, Shape], hidden: int, width: int) -> tuple[Rule, ...]:
    """Rules made for the names at hand.

    Args:
        shapes: of the checkpoint.
        hidden: width of the language model.
        width: width of the Q-Former.
    """
    return find_parts(shapes, hidden, width).rules


def prima_config(checkpoint: Checkpoint, dinov2: Checkpoint | None) -> PrimaConfig:
    """The configuration of the authors' checkpoint, its sizes read from shapes.

    Raises:
        ModelError: a part is missing without which the sizes cannot be known.
    """
    shapes = checkpoint.shapes
    language = _prefix(shapes, "model.embed_tokens.weight", "a LLaMA language model")
    sam = _prefix(shapes, "image_encoder.pos_embed", "SAM's image encoder")
    rows, hidden = shapes[language + "model.embed_tokens.weight"]
    qformer = _qformer_sizes(shapes)
    parts = find_parts(shapes, hidden, qformer["hidden_size"])
    inside = _dinov2_inside(shapes, parts)
    return PrimaConfig(
        visual_module="square" if parts.relational else "fusion",
        vision_config=_eva_sizes(shapes, parts),
        aux_vision_config=inside or dinov2_sizes(dinov2.config if dinov2 else {}),
        qformer_config=qformer,
        text_config=llama_sizes(checkpoint.config.get("text_config") or checkpoint.config, rows),
        sam_config=sam_sizes(strip_prefix(shapes, sam)),
        num_query_tokens=parts.queries or 32,
        projector_layers=parts.projector_layers,
        projector_hidden_size=parts.projector_hidden_size,
        relational_key_width=parts.relational_key_width,
        relational_norm=parts.relational_norm,
        image_token_id=rows,
    )


def _qformer_sizes(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    found = find_qformer(shapes)
    if found is None:
        raise _lacking("a Q-Former")
    stem, rules = found
    stem += "bert." if rules is QFORMER_ORIGINAL else ""
    positions, width = shapes[stem + "embeddings.position_embeddings.weight"]
    return {
        # 30523 is InstructBLIP's: BERT's 30522 pieces and BLIP-2's `[DEC]`.
        "vocab_size": shapes.get(stem + "embeddings.word_embeddings.weight", (30523, width))[0],
        "hidden_size": width,
        "num_hidden_layers": count(
            strip_prefix(shapes, stem), "encoder.layer.#.attention.output.dense.weight"
        ),
        # Shapes do not tell heads. BERT's are 64 wide.
        "num_attention_heads": max(1, width // 64),
        "intermediate_size": 4 * width,
        "max_position_embeddings": positions,
    }


def _eva_sizes(shapes: Mapping[str, Shape], parts: Parts) -> dict[str, Any]:
    if parts.eva is None:
        raise _lacking("EVA-CLIP")
    prefix, from_transformers = parts.eva
    own = strip_prefix(shapes, prefix)
    if not from_transformers:
        width, patch = own["cls_token"][-1], own["patch_embed.proj.weight"][-1]
        # 257 positions are 16 x 16 patches and the class token: (257 - 1) ** 0.5 * 14 = 224 pixels.
        length, depth = own["pos_embed"][1], count(own, "blocks.#.norm1.weight")
        inner = own["blocks.0.mlp.fc1.weight"][0]
    else:
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


def _dinov2_inside(shapes: Mapping[str, Shape], parts: Parts) -> dict[str, Any] | None:
    """Sizes of a DINOv2 that the checkpoint brings itself."""
    if parts.dinov2 is None:
        return None
    prefix, from_transformers = parts.dinov2
    own = strip_prefix(shapes, prefix)
    embeddings = "embeddings." if from_transformers else ""
    patches = "patch_embeddings.projection.weight" if from_transformers else "patch_embed.proj.weight"
    positions = "position_embeddings" if from_transformers else "pos_embed"
    block = "encoder.layer.#.norm1.weight" if from_transformers else "blocks.#.norm1.weight"
    width, _, _, patch = own[embeddings + patches]
    return {
        "hidden_size": width,
        "num_hidden_layers": count(own, block),
        # DINOv2's heads are 64 wide at every size.
        "num_attention_heads": max(1, width // 64),
        "image_size": round((own[embeddings + positions][1] - 1) ** 0.5) * patch,
        "patch_size": patch,
        "num_register_tokens": own.get(embeddings + "register_tokens", (1, 0))[1],
    }


def prima_target(checkpoint: Checkpoint, dinov2: Checkpoint | None) -> Target:
    """What the authors' checkpoint becomes; without DINOv2, in it or given, a PRIMA that has none.

    Raises:
        ModelError: a part is missing without which the sizes cannot be known.
    """
    config = prima_config(checkpoint, dinov2)
    width, hidden = int(config.qformer_config.hidden_size), int(config.text_config.hidden_size)
    parts = find_parts(checkpoint.shapes, hidden, width)
    notes = list(parts.notes)
    if parts.dinov2 is None and dinov2 is None:
        config.aux_vision = False
        notes.append("no DINOv2: the model reads EVA-CLIP alone; --dinov2 adds it, fused as the identity")
    rules = (*parts.rules, *under("dinov2:", "aux_vision_model.", DINOV2))
    fresh = (*FRESH_WITHOUT_DINO, *parts.fresh)
    return Target(config, target_shapes(PrimaModel, config), rules, fresh, tuple(notes))


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
    target = prima_target(checkpoint, dinov2)
    config = target.config
    base = checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent
    rows = int(config.text_config.vocab_size)
    tokenizer = load_tokenizer(base, GLAMM_TOKENS, rows, int(config.text_config.max_position_embeddings))
    # Asked of the tokenizer after it was made: a folder may have the tokens at other ids than GLaMM.
    config.seg_token_id = int(tokenizer.convert_tokens_to_ids(protocol.SEG_TOKEN))
    config.image_token_id = int(tokenizer.convert_tokens_to_ids(protocol.IMAGE_TOKEN))
    checkpoints = {"": checkpoint} | ({"dinov2:": dinov2} if dinov2 else {})
    shapes = target.shapes
    planned = plan(
        joined_shapes(checkpoints), shapes, target.rules, fresh=target.fresh, where=str(checkpoint.path)
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
    return [*planned.summary(), *target.notes]


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
