"""Fresh models of a preset: configuration, random weights and a processor that agree with each other."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from tokenizers import AddedToken

from segue.models.configuration_grounded import PrimaConfig
from segue.models.configuration_miras import MirasConfig
from segue.models.image_streams import miras_streams_for, streams_for
from segue.models.modeling_grounded import GroundedModel
from segue.models.modeling_miras import MirasModel
from segue.models.modeling_prima import PrimaModel
from segue.models.omg_llava.configuration_omg_llava import OmgLlavaConfig
from segue.models.omg_llava.modeling_omg_llava import OmgLlavaModel
from segue.models.omg_llava.processing_omg_llava import (
    INTERNLM2_TEMPLATE,
    MARK,
    REGION,
    OmgLlavaProcessor,
    most_tokens,
    omg_streams_for,
)
from segue.models.presets import preset
from segue.models.processing_grounded import SHORT_TEMPLATE, MirasProcessor, PrimaProcessor
from segue.models.processing_qwen3_vl import (
    QWEN_TOKENS,
    Qwen3VLGroundedProcessor,
    Sa2vaProcessor,
    qwen_processor,
)
from segue.models.qwen3_vl import Qwen3VLGroundedModel, Sa2vaModel
from segue.protocol import IMAGE_TOKEN, OBJ_TOKEN, PHRASE_START, SEG_TOKEN

AnyPrima = TypeVar("AnyPrima", bound=PrimaModel)


def build_prima(
    tokenizer: Any, *, name: str = "tiny-prima", seed: int = 0, **overrides: Any
) -> tuple[PrimaModel, PrimaProcessor]:
    """A small PRIMA around a tokenizer of `segue.mini.tokenizer`.

    Args:
        tokenizer: also serves as the Q-Former's, with its own embedding table.
        name: a preset of the family.
        seed: of the random weights.
        **overrides: configuration fields.

    Returns:
        Model (in eval mode) and processor.
    """
    config = preset(name).config(**overrides)
    assert isinstance(config, PrimaConfig)
    return start_prima(PrimaModel, config, tokenizer, streams_for(config), seed)


def start_prima(
    model_class: type[AnyPrima],
    config: PrimaConfig,
    tokenizer: Any,
    image_streams: dict[str, dict[str, Any]],
    seed: int,
) -> tuple[AnyPrima, PrimaProcessor]:
    """Random weights of PRIMA, or of a family that extends it, and the processor that agrees with them.

    Args:
        model_class: of the model.
        config: its vocabulary sizes become the tokenizer's.
        tokenizer: of the language model and of the Q-Former.
        image_streams: of the processor.
        seed: of the random weights.
    """
    config.text_config.vocab_size = config.qformer_config.vocab_size = len(tokenizer)
    torch.manual_seed(seed)
    # Nothing random may happen between seed and model: tests and recipes count on the same weights.
    model = model_class(config).eval()
    start_prompt_positions(model)
    processor = PrimaProcessor(
        tokenizer,
        tokenizer,
        image_streams=image_streams,
        num_query_tokens=config.tokens_per_image,
        keep_text_outputs=config.keeps_text,
        template=dict(SHORT_TEMPLATE),
        max_instruction_tokens=48,
    )
    return model, processor


def build_miras(
    tokenizer: Any, *, name: str = "tiny-miras", seed: int = 0, **overrides: Any
) -> tuple[MirasModel, MirasProcessor]:
    """A small MIRAS around a tokenizer of `segue.mini.tokenizer`, which is not changed.

    Args:
        tokenizer: the model's is a copy that also knows `[OBJ]`.
        name: a preset of the family.
        seed: of the random weights.
        **overrides: configuration fields.

    Returns:
        Model (in eval mode) and processor.
    """
    # The caller's tokenizer may serve another family, whose embeddings have no row for [OBJ].
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_tokens(AddedToken(OBJ_TOKEN, lstrip=True, normalized=False, special=True), True)
    config = preset(name).config(**overrides)
    assert isinstance(config, MirasConfig)
    # `len` counts added tokens. `tokenizer.vocab_size` does not: `[OBJ]` would have no row in the embedding.
    config.text_config.vocab_size = len(tokenizer)
    ids = tokenizer.convert_tokens_to_ids([SEG_TOKEN, OBJ_TOKEN, IMAGE_TOKEN])
    config.seg_token_id, config.phrase_token_id, config.image_token_id = ids
    torch.manual_seed(seed)
    model = MirasModel(config).eval()
    start_prompt_positions(model)
    processor = MirasProcessor(
        tokenizer,
        image_streams=miras_streams_for(config),
        num_query_tokens=config.tokens_per_image,
        template=dict(SHORT_TEMPLATE),
    )
    return model, processor


def build_segue(
    tokenizer: Any, *, name: str = "tiny-segue", seed: int = 0, **overrides: Any
) -> tuple[Qwen3VLGroundedModel, Qwen3VLGroundedProcessor]:
    """A small model on Qwen3-VL around a tokenizer of `segue.mini.tokenizer`, which is not changed.

    Args:
        tokenizer: the model's is a copy that also knows the tokens of Qwen3-VL's prompts.
        name: a preset of the family.
        seed: of the random weights.
        **overrides: configuration fields.

    Returns:
        Model (in eval mode) and processor.
    """
    return _build_qwen(Qwen3VLGroundedModel, Qwen3VLGroundedProcessor, tokenizer, name, seed, overrides)


def build_sa2va(
    tokenizer: Any, *, name: str = "tiny-sa2va", seed: int = 0, **overrides: Any
) -> tuple[Qwen3VLGroundedModel, Qwen3VLGroundedProcessor]:
    """A small Sa2VA on Qwen3-VL; see `build_segue`."""
    return _build_qwen(Sa2vaModel, Sa2vaProcessor, tokenizer, name, seed, overrides)


def _build_qwen(
    model_class: type[Qwen3VLGroundedModel],
    processor_class: type[Qwen3VLGroundedProcessor],
    tokenizer: Any,
    name: str,
    seed: int,
    overrides: dict[str, Any],
) -> tuple[Qwen3VLGroundedModel, Qwen3VLGroundedProcessor]:
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=True) for t in QWEN_TOKENS], True)
    # As in Qwen3-VL's tokenizer: no sentence begins with a token of its own, a turn ends with `<|im_end|>`.
    tokenizer.bos_token, tokenizer.eos_token = None, "<|im_end|>"
    chosen = preset(name)
    config = chosen.config(**overrides)
    assert isinstance(config, model_class.config_class)
    config.text_config.vocab_size = len(tokenizer)
    config.text_config.eos_token_id = tokenizer.eos_token_id
    ids = tokenizer.convert_tokens_to_ids([SEG_TOKEN, PHRASE_START, *QWEN_TOKENS[2:]])
    config.seg_token_id, config.phrase_token_id = ids[:2]
    config.vision_start_token_id, config.vision_end_token_id, config.image_token_id = ids[2:]
    torch.manual_seed(seed)
    model = model_class(config).eval()
    start_prompt_positions(model)
    return model, qwen_processor(processor_class, tokenizer, chosen.streams)


def build_omg_llava(
    tokenizer: Any, *, name: str = "tiny-omg-llava", seed: int = 0, **overrides: Any
) -> tuple[OmgLlavaModel, OmgLlavaProcessor]:
    """A small OMG-LLaVA around a tokenizer of `segue.mini.tokenizer`, which is not changed.

    Args:
        tokenizer: the model's is a copy that also knows the tokens of its prompts.
        name: a preset of the family.
        seed: of the random weights.
        **overrides: configuration fields.

    Returns:
        Model (in eval mode) and processor.
    """
    tokenizer = copy.deepcopy(tokenizer)
    # `<mark>` last: it has no row, for it is always replaced.
    tokens = ("<|im_start|>", "<|im_end|>", REGION, MARK)
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=True) for t in tokens], True)
    tokenizer.eos_token = "<|im_end|>"
    config = preset(name).config(**overrides)
    assert isinstance(config, OmgLlavaConfig)
    config.text_config.vocab_size = len(tokenizer) - 1
    config.text_config.eos_token_id = tokenizer.eos_token_id
    ids = tokenizer.convert_tokens_to_ids([SEG_TOKEN, PHRASE_START, IMAGE_TOKEN, REGION, MARK])
    config.seg_token_id, config.phrase_token_id, config.image_token_id = ids[:3]
    config.region_token_id, config.mark_token_id = ids[3:]
    torch.manual_seed(seed)
    model = OmgLlavaModel(config).eval()
    return model, OmgLlavaProcessor(
        tokenizer,
        image_streams=omg_streams_for(config),
        num_query_tokens=most_tokens(config),
        template=dict(INTERNLM2_TEMPLATE),
    )


def start_prompt_positions(model: GroundedModel) -> None:
    """Give SAM's random position frequencies SAM's own size.

    transformers starts them at half the encoder's width, meant to be overwritten by a checkpoint; SAM's own
    start is 1, and with 64 neighbouring positions would look unrelated.
    """
    frequencies = torch.randn_like(model.sam.shared_image_embedding.positional_embedding)
    # One draw for both places: SAM reads clicks and its own grid through the same frequencies.
    for embedding in (model.sam.shared_image_embedding, model.sam.prompt_encoder.shared_embedding):
        embedding.positional_embedding.data.copy_(frequencies)
