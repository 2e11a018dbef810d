"""`segue init prima-7b`: the parts that the paper starts from, composed; what the paper adds is fresh."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from segue import protocol
from segue.errors import ModelError
from segue.models.configuration_grounded import PrimaConfig
from segue.models.conversion.checkpoints import Checkpoint
from segue.models.conversion.families import GLAMM_TOKENS, IMAGE_WRAP, target_shapes
from segue.models.conversion.outputs import whole_folder
from segue.models.conversion.parts import instructblip_sizes
from segue.models.conversion.plan import Plan, plan
from segue.models.conversion.rules import Rule, drops
from segue.models.conversion.sizes import llama_sizes, part_sizes, sam_sizes, strip_prefix
from segue.models.conversion.streaming import joined_shapes, write_converted
from segue.models.conversion.templates import PRIMA_FROM_PARTS
from segue.models.conversion.tokenizers import load_tokenizer
from segue.models.conversion.writing import SHARD_BYTES, ShardWriter
from segue.models.image_streams import streams_for
from segue.models.modeling_prima import PrimaModel
from segue.models.presets import preset
from segue.models.processing_grounded import PrimaProcessor

FRESH = ("fusion.", "reader.relational.", "image_projection.")
"""Parts that no public checkpoint has. Source: PRIMA section 3.2 (cross-attention, projection)."""

DINO_SIDE = 448
"""Pixels that DINOv2 sees, as in the preset; it was trained at 518 and takes any multiple of its patch."""


def initialise_prima(
    glamm: Checkpoint,
    instructblip: Checkpoint,
    dinov2: Checkpoint,
    out: Path,
    *,
    name: str = "prima-7b",
    seed: int = 0,
    dtype: torch.dtype | None = None,
    bert: Path | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> list[str]:
    """Compose a PRIMA model from the checkpoints that the paper starts from.

    Args:
        glamm: language model, tokens, `[SEG]` projection and SAM.
        instructblip: EVA-CLIP-g, Q-Former and queries; its own language model may be left out.
        dinov2: DINOv2 with registers.
        out: folder to write; must not hold anything yet.
        name: a preset of the family.
        seed: of the fresh parts.
        dtype: of the written weights; that of GLaMM by default.
        bert: repository with the Q-Former's tokenizer, where InstructBLIP's folder has none.

    Returns:
        Sentences about what was taken over and what is fresh.

    Raises:
        ConversionError: a part does not fit; every tensor is named.
        ModelError: a tokenizer or a config.json is missing.

    Source: PRIMA appendix C.
    """
    kept = dtype or glamm.majority_dtype()
    folder = glamm.path if glamm.path.is_dir() else glamm.path.parent
    rows = glamm.shapes["model.embed_tokens.weight"][0]
    longest = int(glamm.config.get("max_position_embeddings") or 4096)
    tokenizer = load_tokenizer(folder, GLAMM_TOKENS, rows, longest)
    config = composed_config(
        name,
        glamm,
        instructblip,
        dinov2,
        seg_token_id=int(tokenizer.convert_tokens_to_ids(protocol.SEG_TOKEN)),
        image_token_id=int(tokenizer.convert_tokens_to_ids(protocol.IMAGE_TOKEN)),
    )
    planned = plan_composition(config, glamm, instructblip, dinov2)
    reader = bert_tokenizer(instructblip.path, bert)
    shapes = target_shapes(PrimaModel, config)
    # Labels keep apart what has one name in two checkpoints: `vision_model.` is CLIP in one, EVA in another.
    checkpoints = {"glamm:": glamm, "instructblip:": instructblip, "dinov2:": dinov2}
    processor = PrimaProcessor(
        tokenizer,
        reader,
        image_streams=streams_for(config, _dino_side(config)),
        num_query_tokens=config.tokens_per_image,
        keep_text_outputs=config.keeps_text,
        image_wrap=list(IMAGE_WRAP),
    )
    config.architectures, config.dtype = ["PrimaModel"], kept
    with whole_folder(out) as partial:
        with ShardWriter(partial, shapes, kept, shard_bytes) as writer:
            write_converted(checkpoints, planned, shapes, writer, fresh_tensors(config, planned.fresh, seed))
        config.save_pretrained(partial)
        processor.save_pretrained(partial)
        origin = {"converted_from": [c.path.name for c in checkpoints.values()], "seed": seed, "format": 1}
        (partial / "conversion.json").write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
    return planned.summary()


def composed_config(
    name: str,
    glamm: Checkpoint,
    instructblip: Checkpoint,
    dinov2: Checkpoint,
    *,
    seg_token_id: int,
    image_token_id: int,
) -> PrimaConfig:
    """The preset's configuration with the sizes of the parts at hand.

    Raises:
        ModelError: a config.json does not describe its part.
    """
    vision, qformer, queries = instructblip_sizes(instructblip.config)
    rows = glamm.shapes["model.embed_tokens.weight"][0]
    width = instructblip.shapes.get("vision_model.embeddings.class_embedding", (1408,))[-1]
    config = preset(name).config(
        vision_config=vision,
        qformer_config=qformer,
        aux_vision_config=dinov2_sizes(dinov2.config),
        text_config=llama_sizes(glamm.config, rows),
        sam_config=sam_sizes(strip_prefix(glamm.shapes, "model.grounding_encoder.")),
        num_query_tokens=queries,
        # 1408 has 16 heads of 88; a tower of another width takes the most that divide it.
        fusion_heads=next(heads for heads in (16, 8, 4, 2, 1) if width % heads == 0),
        seg_token_id=seg_token_id,
        image_token_id=image_token_id,
    )
    assert isinstance(config, PrimaConfig)
    return config


def plan_composition(
    config: PrimaConfig, glamm: Checkpoint, instructblip: Checkpoint, dinov2: Checkpoint
) -> Plan:
    """The place of every tensor of the three parts; ConversionError when they do not fill the model."""
    checkpoints = {"glamm:": glamm, "instructblip:": instructblip, "dinov2:": dinov2}
    shapes = target_shapes(PrimaModel, config)
    where = ", ".join(str(c.path) for c in checkpoints.values())
    rules = (*rules_of_variant(config), *PRIMA_FROM_PARTS)
    return plan(joined_shapes(checkpoints), shapes, rules, fresh=FRESH, where=where)


def rules_of_variant(config: PrimaConfig) -> tuple[Rule, ...]:
    """Rules for what a variant of the family leaves out of the public checkpoints."""
    rules: list[Rule] = []
    if not config.has_queries:
        names = ("instructblip:qformer.{rest}", "instructblip:query_tokens")
        rules += drops("the Q-Former, which this variant does not have", *names)
    if not config.aux_vision:
        rules += drops("DINOv2, which this variant does not have", "dinov2:{rest}")
    return tuple(rules)


def dinov2_sizes(config: dict[str, Any]) -> dict[str, Any]:
    """Fields of DINOv2's configuration from its config.json; the preset's where there is none."""
    if not config:
        return dict(preset("prima-7b").config().aux_vision_config.to_dict())
    return part_sizes(config, "aux_vision_config")


def _dino_side(config: PrimaConfig) -> int:
    own, patch = config.aux_vision_config.image_size, config.aux_vision_config.patch_size
    return DINO_SIDE if own > DINO_SIDE and DINO_SIDE % patch == 0 else int(own)


@torch.no_grad()
def fresh_tensors(
    config: Any,
    names: tuple[str, ...],
    seed: int,
    model_class: Any = PrimaModel,
    parts: tuple[str, ...] = FRESH,
) -> dict[str, Tensor]:
    """Parameters as a new model would start them, without building the parts that are not asked for.

    Args:
        config: of the model.
        names: of the parameters.
        seed: of the random ones.
        model_class: of the model.
        parts: submodules, with a dot, that the names belong to.
    """
    with torch.device("meta"):
        model = model_class(config)
    # Just before the first draw: the same seed gives the same weights, whatever was drawn earlier.
    torch.manual_seed(seed)
    found: dict[str, Tensor] = {}
    for part in parts:
        wanted = [name for name in names if name.startswith(part)]
        if not wanted:
            continue
        # `to_empty` gives memory as it lies: `_init_weights` must reach every parameter of the part.
        module: nn.Module = model.get_submodule(part.rstrip(".")).to_empty(device="cpu")
        module.apply(model._init_weights)
        state = module.state_dict()
        found |= {name: state[name[len(part) :]] for name in wanted}
    return found


def bert_tokenizer(folder: Path, bert: Path | None) -> Any:
    """The Q-Former's tokenizer: of a repository that is given, else of InstructBLIP's folder.

    Raises:
        ModelError: there is none.
    """
    places = [bert, folder / "qformer_tokenizer"] if bert else [folder / "qformer_tokenizer"]
    for place in places:
        if place is not None and (place / "tokenizer_config.json").is_file():
            return AutoTokenizer.from_pretrained(str(place), local_files_only=True)
    raise ModelError(
        "The Q-Former's tokenizer is missing.",
        expected="a folder qformer_tokenizer beside InstructBLIP's weights, or a BERT tokenizer",
        found="neither",
        where=str(folder),
        fix="download the whole InstructBLIP repository, or give bert-base-uncased with --bert",
    )
