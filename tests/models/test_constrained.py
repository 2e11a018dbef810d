"""Whatever a model would like to write, its masks point at images that exist and its tags close."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from segue import protocol
from segue.models.constrained import GrammarProcessor, vocabulary_of
from segue.protocol import DIALECTS, PHRASE_END, PHRASE_START, SEG_TOKEN, Reason
from segue.protocol.grammar import AnswerGrammar

WRONG = {
    Reason.MISSING_IDENTIFIER,
    Reason.MALFORMED_IDENTIFIER,
    Reason.IDENTIFIER_OUT_OF_RANGE,
    Reason.UNCLOSED_PHRASE,
    Reason.NESTED_TAGS,
    Reason.STRAY_TAG,
}


def spelled_tokenizer(sentencepiece: bool) -> Any:
    """A vocabulary in which identifiers are spelled, as in LLaMA's and Qwen's."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    blank = "\u2581" if sentencepiece else "\u0120"
    pieces = [blank, blank + "(", "(", "IMAGE", "IMA", "I", "M", "A", "G", "E", "image", ")", ").", "),", "."]
    pieces += [*"0123456789", blank + "mug", "mug", "mu", "g", blank + "a", "u", "m", "i", "a", "e", "12"]
    if sentencepiece:
        # Its way to write what it has no piece for, and now and then what it has one for.
        pieces += ["<0x28>", "<0x32>"]
    vocabulary = {piece: k for k, piece in enumerate(["<unk>", "</s>", *pieces])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace() if sentencepiece else pre_tokenizers.ByteLevel(False)
    spelled = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    tokenizer.decoder = spelled if sentencepiece else decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")
    fast.add_tokens([AddedToken(t, normalized=False, special=True) for t in protocol.TAG_LITERALS])
    return fast


def babbled(tokenizer: Any, dialect: str, num_images: int, seed: int, constrained: bool) -> str:
    """The markup of a model whose every step is a draw, tags being likely."""
    from segue.models.processing_grounded import GroundedProcessor

    words = vocabulary_of(tokenizer)
    rules = GrammarProcessor(words, [AnswerGrammar(DIALECTS[dialect], num_images)], [tokenizer.eos_token_id])
    generator = torch.Generator().manual_seed(seed)
    liked = torch.zeros(len(tokenizer))
    for tag in (SEG_TOKEN, PHRASE_START, PHRASE_END, protocol.OBJ_TOKEN):
        liked[words.tags[tag]] = 2.0
    ids: list[int] = []
    for _ in range(60):
        scores = (liked + torch.randn(len(tokenizer), generator=generator))[None]
        if constrained:
            scores = rules(torch.tensor([ids], dtype=torch.long), scores)
        assert scores.isfinite().any(), "something can always be written"
        ids.append(int(scores.argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    processor = GroundedProcessor.__new__(GroundedProcessor)
    processor.tokenizer = tokenizer
    return processor.decode_markup(ids)


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@pytest.mark.parametrize("num_images", [1, 3])
@pytest.mark.parametrize("kind", ["sentencepiece", "bytes", "one token"])
def test_a_babbling_model_writes_well_formed_answers(
    dialect: str, num_images: int, kind: str, tiny_tokenizer: Any
) -> None:
    if DIALECTS[dialect].one_by_one and num_images > 1:
        pytest.skip("each image is asked for itself: no answer is written about several")
    if kind == "one token":
        if dialect == "miras":
            pytest.skip("the small vocabulary has no [OBJ]")
        tokenizer = tiny_tokenizer
        tokenizer = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, eos_token="</s>")
        tokenizer.add_tokens([protocol.OBJ_TOKEN])
    else:
        tokenizer = spelled_tokenizer(kind == "sentencepiece")
    found, free = [], []
    for seed in range(12):
        for constrained, reasons in ((True, found), (False, free)):
            markup = babbled(tokenizer, dialect, num_images, seed, constrained)
            parsed = protocol.parse(markup, num_images, dialect)
            last = len(parsed.text)
            # Only the end of the budget may leave something open.
            reasons += [u.reason for u in parsed.unplaced if u.seg_ordinal < parsed.num_segs - 1]
            reasons += [n.reason for n in parsed.notes if n.offset < last]
    assert WRONG & set(free), "without the grammar the same model makes mistakes"
    assert not WRONG & set(found)


def test_a_row_that_has_ended_is_left_alone(tiny_tokenizer: Any) -> None:
    words = vocabulary_of(tiny_tokenizer)
    assert vocabulary_of(tiny_tokenizer) is words
    grammar = AnswerGrammar(DIALECTS["prima"], 2)
    rules = GrammarProcessor(words, [grammar, grammar], [2])
    ids = torch.tensor([[words.tags[SEG_TOKEN], 2], [20, words.tags[SEG_TOKEN]]])
    scores = rules(ids, torch.zeros(2, len(tiny_tokenizer)))
    assert scores[0].isfinite().all()
    assert scores[1].isfinite().nonzero().flatten().tolist() == [
        tiny_tokenizer.convert_tokens_to_ids("(IMAGE1)"),
        tiny_tokenizer.convert_tokens_to_ids("(IMAGE2)"),
    ]
