"""A small byte-level BPE tokenizer whose tags and identifiers are one token each."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from segue.protocol import IMAGE_TOKEN, PHRASE_END, PHRASE_START, SEG_TOKEN, identifier

MAX_IMAGES = 9
SPECIAL_TOKENS = (
    "<pad>",
    "<s>",
    "</s>",
    IMAGE_TOKEN,
    SEG_TOKEN,
    PHRASE_START,
    PHRASE_END,
    *(identifier(i) for i in range(MAX_IMAGES)),
)
"""Ids 0.. in this order: `[SEG]` is 4, `(IMAGE1)` is 7."""


def train_tokenizer(texts: Iterable[str], vocab_size: int = 1536) -> PreTrainedTokenizerFast:
    """Learn a vocabulary from texts; unknown words fall apart into bytes, so any typing can be read.

    Tags swallow the space before them (`lstrip`), which saves a token per tag; the processor puts it back.

    Args:
        texts: training texts, without tags.
        vocab_size: tokens in all, the special ones and 256 bytes included.

    Returns:
        A fast tokenizer with pad 0, bos 1, eos 2.

    Source: ours.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [
        AddedToken(t, lstrip=t not in ("<pad>", "<s>", "</s>"), normalized=False, special=True)
        for t in SPECIAL_TOKENS
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        padding_side="right",
        model_max_length=1024,
    )
