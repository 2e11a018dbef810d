"""Fresh talking models: vocabulary, configuration, random weights and a processor that agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from segue import protocol
from segue.mini.talk.conversation import compose, frequent_names
from segue.mini.talk.kinds import Kinds, known_kinds
from segue.mini.talk.starts import start_alike, start_words
from segue.mini.talk.vocabulary import word_tokenizer
from segue.mini.tokenizer import MAX_IMAGES
from segue.models.mini.findings import MOST_FINDINGS, finding_vocabulary
from segue.models.mini.presets_mini import MINI_COLOURS
from segue.models.mini.question_words import UNHEARD, read_question
from segue.models.mini.spelled_findings import NOTHING
from segue.models.mini.talking import TALKING_TEMPLATE, TalkingConfig, TalkingModel, TalkingProcessor

PROMPT_WIDTH = 96
SIZES = {
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "initializer_range": 0.05,
}


def talking_tokenizer(kinds: Kinds, conversations: int = 6000, seed: int = 5) -> PreTrainedTokenizerFast:
    """The vocabulary of all names and of drawn-up conversations, both wordings of training and of evaluation.

    Words of held-out wordings are in it: a word that is met for the first time is then a known one whose
    embedding is at its start, as rare words of people are.
    """
    rng = np.random.default_rng(seed)
    texts = []
    for number in range(conversations):
        conversation = compose(kinds, rng, frequent=frequent_names(), held_out=number % 4 == 0)
        text = protocol.overview(len(conversation.images)) + "\n"
        for role, content in conversation.turns:
            said = read_question(content, frozenset(), {}) if role == "user" else f" {content}"
            text += (" USER:" if role == "user" else " ASSISTANT:") + said
        tags = (protocol.SEG_TOKEN, protocol.PHRASE_START, protocol.PHRASE_END, protocol.REGION_TOKEN)
        for tag in (protocol.IMAGE_TOKEN, *tags):
            text = text.replace(tag, "")
        for k in range(MAX_IMAGES):
            text = text.replace(protocol.identifier(k), "")
        texts.append(text)
    digits = [str(n) for n in range(1, MAX_IMAGES + 1)]
    return word_tokenizer(
        texts, (*kinds.words(), *finding_vocabulary(), *MINI_COLOURS, NOTHING, UNHEARD, *digits), least=3
    )


def talking_config(tokenizer: Any, vocab_size: int, *, free_tokens: int = 2, **sizes: Any) -> TalkingConfig:
    """A configuration.

    Args:
        tokenizer: whose special tokens the model knows; None where only shapes are wanted.
        vocab_size: V.
        free_tokens: see `TalkingConfig.num_free_tokens`.
        **sizes: fields of the language model in place of `SIZES`.
    """
    identifiers = [protocol.identifier(k) for k in range(MAX_IMAGES)]
    special = (protocol.SEG_TOKEN, protocol.PHRASE_START, protocol.IMAGE_TOKEN, *identifiers)
    ids = [-1] * len(special) if tokenizer is None else tokenizer.convert_tokens_to_ids(list(special))
    return TalkingConfig(
        text_config={"model_type": "llama", "vocab_size": vocab_size} | SIZES | sizes,
        sam_config=_small_sam(),
        num_free_tokens=free_tokens,
        seg_token_id=ids[0],
        phrase_token_id=ids[1],
        image_token_id=ids[2],
        region_tokens=True,
        region_token_id=-1 if tokenizer is None else tokenizer.convert_tokens_to_ids(protocol.REGION_TOKEN),
        identifier_token_ids=ids[3:],
    )


def build_talking(tokenizer: Any, *, seed: int = 0, **options: Any) -> tuple[TalkingModel, TalkingProcessor]:
    """A fresh model around a tokenizer of `talking_tokenizer`.

    Args:
        seed: of the random weights.
        **options: see `talking_config`.
    """
    config = talking_config(tokenizer, len(tokenizer), **options)
    torch.manual_seed(seed)
    model = TalkingModel(config).eval()
    start_alike(model)
    start_words(model, tokenizer, known_kinds())
    processor = TalkingProcessor(
        tokenizer,
        image_streams={},
        num_query_tokens=MOST_FINDINGS + config.num_free_tokens,
        template=dict(TALKING_TEMPLATE),
    )
    return model, processor


def _small_sam() -> dict[str, Any]:
    """The smallest SAM whose prompts have the right width: nothing here draws masks."""
    return {
        "vision_config": {
            "hidden_size": 16,
            "output_channels": PROMPT_WIDTH,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 16,
            "global_attn_indexes": [],
            "window_size": 0,
            "num_pos_feats": PROMPT_WIDTH // 2,
            "mlp_dim": 32,
        },
        "prompt_encoder_config": {"hidden_size": PROMPT_WIDTH, "image_size": 32, "patch_size": 16},
        "mask_decoder_config": {
            "hidden_size": PROMPT_WIDTH,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
            "num_multimask_outputs": 1,
        },
    }
