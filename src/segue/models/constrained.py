"""Generation that keeps to the grammar of answers: `segue.protocol.grammar`, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from segue.protocol import DIALECTS, SEG_TOKEN, TAG_LITERALS
from segue.protocol.grammar import END, AnswerGrammar

if TYPE_CHECKING:
    from segue.models.auto import ModelBundle
    from segue.models.modeling_grounded import GroundedModel
    from segue.models.processing_grounded import GroundedProcessor


class Vocabulary:
    """Texts of a tokenizer's ids, and the masks of forbidden ids that were worked out with them.

    Args:
        tokenizer: of the language model.
    """

    def __init__(self, tokenizer: Any) -> None:
        # As they stand in the vocabulary: decoding each alone would drop the blank that begins it. Only the
        # characters of identifiers matter, which all vocabularies write as they are.
        self.texts = {number: _text(piece) for piece, number in tokenizer.get_vocab().items()}
        known = {text: number for number, text in self.texts.items() if text in TAG_LITERALS}
        self.tags: dict[str, int] = known
        self._masks: dict[tuple[Any, ...], Tensor] = {}

    @cached_property
    def tag_names(self) -> dict[int, str]:
        """Tags by their ids."""
        return {number: tag for tag, number in self.tags.items()}

    def forbidden_after_seg(self, grammar: AnswerGrammar, written: str, size: int) -> Tensor:
        """Mask `[size]` of the ids that may not follow a `[SEG]` and this text."""
        key = (grammar, written, size)
        if key not in self._masks:
            mask = torch.ones(size, dtype=torch.bool)
            allowed = [k for k, text in self.texts.items() if k < size and grammar.permits(written + text)]
            # Identifiers that are tokens are not spelled: the model has read no others.
            whole = [k for k in allowed if self.texts[k] in grammar.names]
            mask[whole if grammar.required and len(whole) == grammar.num_images else allowed] = False
            self._masks[key] = mask
        return self._masks[key]


_VOCABULARIES: WeakKeyDictionary[Any, Vocabulary] = WeakKeyDictionary()


def vocabulary_of(tokenizer: Any) -> Vocabulary:
    """The vocabulary of a tokenizer, worked out once."""
    if tokenizer not in _VOCABULARIES:
        _VOCABULARIES[tokenizer] = Vocabulary(tokenizer)
    return _VOCABULARIES[tokenizer]


class GrammarProcessor(LogitsProcessor):
    """Forbids whatever the grammar of answers does not permit.

    Args:
        vocabulary: of the language model.
        grammars: one for each row of the batch.
        end_ids: that end an answer.
    """

    def __init__(
        self, vocabulary: Vocabulary, grammars: Sequence[AnswerGrammar], end_ids: Sequence[int]
    ) -> None:
        self.vocabulary, self.grammars, self.end_ids = vocabulary, list(grammars), list(end_ids)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores `[B, V]` with those of forbidden ids at minus infinity; `input_ids` `[B, T]` are new."""
        forbidden = torch.stack(
            [
                self.forbidden(ids, grammar, scores.shape[1])
                for ids, grammar in zip(input_ids.tolist(), self.grammars, strict=True)
            ]
        )
        return scores.masked_fill(forbidden.to(scores.device), -torch.inf)

    def forbidden(self, ids: list[int], grammar: AnswerGrammar, size: int) -> Tensor:
        """Mask `[size]` of the ids that may not follow `ids`, the answer so far."""
        words = self.vocabulary
        if ids and ids[-1] in self.end_ids:
            # The answer has ended; others of its batch go on.
            return torch.zeros(size, dtype=torch.bool)
        seg = words.tags[SEG_TOKEN]
        if seg in ids:
            last = len(ids) - 1 - ids[::-1].index(seg)
            # An identifier is short; to read on to the end of a long answer would be of no use.
            written = "".join(words.texts.get(k, "") for k in ids[last + 1 : last + 33])
            if grammar.undecided(written):
                mask = words.forbidden_after_seg(grammar, written, size).clone()
                if grammar.required:
                    return mask
                return self._without_tags(mask, ids, grammar)
        return self._without_tags(torch.zeros(size, dtype=torch.bool), ids, grammar)

    def _without_tags(self, mask: Tensor, ids: list[int], grammar: AnswerGrammar) -> Tensor:
        names, numbers = self.vocabulary.tag_names, self.vocabulary.tags
        for tag in grammar.forbidden(names[k] for k in ids if k in names):
            # A placeholder may lie beyond the vocabulary: it can never be written anyway.
            wrong = self.end_ids if tag == END else [numbers[tag]] if tag in numbers else []
            mask[[k for k in wrong if k < len(mask)]] = True
        return mask


def grammar_processor(
    model: GroundedModel, processor: GroundedProcessor, num_images: Sequence[int]
) -> GrammarProcessor:
    """The constraint on answers of conversations that show so many images.

    Args:
        model: that generates; it knows which ids end an answer.
        processor: of the model; it knows the dialect and the tokenizer.
        num_images: B counts.
    """
    end = model.language_model.generation_config.eos_token_id
    ends = end if isinstance(end, list) else [end]
    dialect = DIALECTS[processor.dialect]
    return GrammarProcessor(
        vocabulary_of(processor.tokenizer),
        [AnswerGrammar(dialect, count) for count in num_images],
        [k for k in {*ends, processor.tokenizer.eos_token_id} if k is not None],
    )


def with_grammar(
    options: dict[str, Any], constrained: bool, bundle: ModelBundle, num_images: Sequence[int]
) -> dict[str, Any]:
    """Options of `generate`, with the grammar behind whatever else changes logits.

    Args:
        options: given.
        constrained: False leaves them as they are.
        bundle: that generates.
        num_images: B counts.
    """
    if not constrained:
        return options
    grammar = grammar_processor(bundle.model, bundle.processor, num_images)
    return options | {
        "logits_processor": LogitsProcessorList([*options.get("logits_processor", ()), grammar])
    }


def _text(piece: str) -> str:
    if len(piece) == len("<0x28>") and piece.startswith("<0x"):
        return chr(int(piece[3:5], 16))
    # How SentencePiece and byte-level vocabularies write a blank.
    return piece.replace("\u2581", " ").replace("\u0120", " ")
