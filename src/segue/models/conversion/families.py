"""Public checkpoints told apart by their tensors, and the model of ours that each becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from segue import protocol
from segue.errors import ModelError
from segue.models.configuration_lisa import GlammConfig, LisaConfig
from segue.models.conversion.checkpoints import Checkpoint
from segue.models.conversion.plan import Shape
from segue.models.conversion.rules import Rule
from segue.models.conversion.sizes import llama_sizes, part_sizes, sam_sizes, strip_prefix
from segue.models.conversion.templates import GLAMM, LISA
from segue.models.conversion.templates_sam2 import SAM2_PREFIX
from segue.models.conversion.tokenizers import load_tokenizer
from segue.models.image_streams import clip_streams_for
from segue.models.modeling_glamm import GlammModel
from segue.models.modeling_lisa import LisaModel
from segue.models.processing_grounded import GlammProcessor, GroundedProcessor, LisaProcessor

IMAGE_WRAP = ("<im_start>", "<im_end>")
"""Texts around the visual tokens of an image in LISA's and GLaMM's prompts."""

GLAMM_TOKENS = (*IMAGE_WRAP, "<bbox>", "<point>", "[SEG]", "<p>", "</p>")
LISA_TOKENS = ("[SEG]", *IMAGE_WRAP)
"""Added tokens in the published order. Source: GLaMM's and LISA's code."""


@dataclass(frozen=True)
class Family:
    """A published family of grounded models.

    Attributes:
        name: of the family and of its `model_type`.
        config, model, processor: our classes.
        rules: key templates.
        sam: prefix of SAM's names in the checkpoint.
        tokens: added tokens in the published order.
        clip: the hub name of the vision tower, which the checkpoints leave out.
    """

    name: str
    config: type[LisaConfig]
    model: type[LisaModel]
    processor: type[GroundedProcessor]
    rules: tuple[Rule, ...]
    sam: str
    tokens: tuple[str, ...]
    clip: str


FAMILIES = {
    "glamm": Family(
        "glamm",
        GlammConfig,
        GlammModel,
        GlammProcessor,
        GLAMM,
        "model.grounding_encoder.",
        GLAMM_TOKENS,
        "openai/clip-vit-large-patch14-336",
    ),
    "lisa": Family(
        "lisa",
        LisaConfig,
        LisaModel,
        LisaProcessor,
        LISA,
        "model.visual_model.",
        LISA_TOKENS,
        "openai/clip-vit-large-patch14",
    ),
}


_LLAVA_PROJECTORS = ("mm_projector", "multi_modal_projector")


def identify(names: Sequence[str] | Mapping[str, Any], config: Mapping[str, Any] | None = None) -> str:
    """The kind of a checkpoint: `glamm`, `lisa`, `prima`, `miras`, `llava`, `sa2va`, `instructblip`, `sam` or
    `sam-hf` (of transformers).

    Args:
        names: of its tensors.
        config: content of its config.json.

    Raises:
        ModelError: none of them.
    """
    if any(name.startswith(SAM2_PREFIX) for name in names):
        return "sa2va"
    # A dot before the name too, so that `mask_decoder.` at its very start is found by the same word.
    segments = any(".mask_decoder." in f".{name}" for name in names)
    asks = any("query_tokens" in name for name in names)
    # From special to general: PRIMA, MIRAS and LISA all hold a SAM, MIRAS under LISA's name for it.
    if segments and (asks or (config or {}).get("model_type") == "prima"):
        return "prima"
    if segments and any(name.startswith("model.vlm_uni_") for name in names):
        return "miras"
    if not segments and any(f".{word}." in f".{name}" for name in names for word in _LLAVA_PROJECTORS):
        return "llava"
    for name, family in FAMILIES.items():
        if any(key.startswith(family.sam) for key in names):
            return name
    if asks and any(key.startswith("qformer.") for key in names):
        return "instructblip"
    if segments and any(key.startswith("image_encoder.") for key in names):
        return "sam"
    if segments and any(key.startswith("vision_encoder.") for key in names):
        return "sam-hf"
    raise ModelError(
        "This checkpoint is of no kind that can be converted.",
        expected="GLaMM, LISA, PRIMA, MIRAS, LLaVA-1.5, Sa2VA, InstructBLIP, or SAM (original or HF)",
        found=", ".join(sorted(names)[:5]) or "no tensors",
        where="names of the tensors",
        fix="give the folder of one of these repositories as it was downloaded",
    )


def lisa_config(
    family: Family,
    shapes: Mapping[str, Shape],
    config: Mapping[str, Any],
    clip: Mapping[str, Any],
    seg_token_id: int,
    image_token_id: int,
) -> LisaConfig:
    """The configuration of a LISA or GLaMM checkpoint.

    Args:
        family: one of `FAMILIES`.
        shapes: of the checkpoint.
        config: its config.json.
        clip: config.json of the CLIP repository.
        seg_token_id: of its tokenizer.
        image_token_id: of the tokenizer that `load_tokenizer` made; beyond the embedding, so that the model
            cannot write `<image>` and its logits stay those of the published model.
    """
    # From shapes: the vocab_size of a config.json may be that from before tokens were added.
    rows, width = shapes["model.embed_tokens.weight"]
    inner = shapes["model.text_hidden_fcs.0.0.weight"][0]
    built = family.config(
        text_config=llama_sizes(config, rows),
        sam_config=sam_sizes(strip_prefix(shapes, family.sam)),
        vision_config=part_sizes(clip, "vision_config"),
        vision_select_layer=int(config.get("mm_vision_select_layer", -2)),
        seg_token_id=seg_token_id,
        image_token_id=image_token_id,
        # None means "as wide as the language model", and keeps config.json equal to the preset's.
        seg_projection_hidden_size=None if inner == width else inner,
    )
    built.architectures = [family.model.__name__]
    return built


def lisa_processor(
    family: Family, config: LisaConfig, tokenizer: Any, template: dict[str, str] | None = None
) -> GroundedProcessor:
    """The processor that prepares prompts as the family was trained on."""
    return family.processor(
        tokenizer,
        image_streams=clip_streams_for(config),
        num_query_tokens=config.tokens_per_image,
        image_wrap=list(IMAGE_WRAP),
        template=template,
    )


def lisa_parts(
    family: Family,
    checkpoint: Checkpoint,
    clip: Mapping[str, Any],
    template: dict[str, str] | None = None,
) -> tuple[LisaConfig, GroundedProcessor]:
    """Configuration and processor of a LISA or GLaMM folder, tokenizer included."""
    folder = checkpoint.path if checkpoint.path.is_dir() else Path(checkpoint.path).parent
    rows = checkpoint.shapes["model.embed_tokens.weight"][0]
    longest = int(checkpoint.config.get("max_position_embeddings") or 2048)
    tokenizer = load_tokenizer(folder, family.tokens, rows, longest)
    ids = {token: int(tokenizer.convert_tokens_to_ids(token)) for token in ("[SEG]", protocol.IMAGE_TOKEN)}
    config = lisa_config(
        family, checkpoint.shapes, checkpoint.config, clip, ids["[SEG]"], ids[protocol.IMAGE_TOKEN]
    )
    if protocol.PHRASE_START in family.tokens:
        config.phrase_token_id = int(tokenizer.convert_tokens_to_ids(protocol.PHRASE_START))
    return config, lisa_processor(family, config, tokenizer, template)


def target_shapes(model: type[PreTrainedModel], config: Any) -> dict[str, Shape]:
    """Names and shapes of a model's parameters, built on the meta device, where they take no memory."""
    with torch.device("meta"):
        built: nn.Module = model(config)
    # state_dict, not parameters: buffers are saved too, and tied tables under both names.
    return {name: tuple(tensor.shape) for name, tensor in built.state_dict().items()}
