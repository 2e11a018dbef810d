"""The vocabulary of the talking model: whole words of what it will hear and say, letters for everything else.

Every word is one token, so that a finding's name and the same name in a question are one embedding; what is
not a known word falls apart into short pieces and bytes, so that any typing can be read and any name spelled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from segue.mini.tokenizer import SPECIAL_TOKENS
from segue.protocol import REGION_TOKEN

WORD, PIECE, BYTE = -5.0, -12.0, -30.0
"""Log-probabilities that make a known word cheaper than its pieces, and pieces cheaper than their bytes."""

PIECES = 256
"""Pieces of two and three letters, the commonest of the known words."""


def word_tokenizer(texts: Iterable[str], words: Iterable[str], least: int = 2) -> PreTrainedTokenizerFast:
    """A tokenizer with a token for each word.

    Args:
        texts: what is heard and said, without tags; words that come `least` times are known.
        words: known however rare; each stands after a blank.
        least: see `texts`.

    Returns:
        A fast tokenizer with pad 0, bos 1, eos 2, and the special tokens of `segue.mini.tokenizer` and
        `<region>`.

    Source: paper silent; ours.
    """
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    counts = Counter(piece for text in texts for piece, _ in splitter.pre_tokenize_str(text))
    known = {piece for piece, count in counts.items() if count >= least}
    known |= {piece for word in words for piece, _ in splitter.pre_tokenize_str(f" {word}")}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    parts = Counter(
        word[k : k + n] for word in known for n in (2, 3) for k in range(max(len(word) - n + 1, 0))
    )
    pieces = [part for part, _ in sorted(parts.items(), key=lambda item: (-item[1], item[0]))[:PIECES]]
    special = (*SPECIAL_TOKENS, REGION_TOKEN)
    entries = dict.fromkeys(special, BYTE * 9)
    entries |= dict.fromkeys(alphabet, BYTE) | dict.fromkeys(pieces, PIECE)
    entries |= dict.fromkeys(sorted(known), WORD)
    tokenizer = Tokenizer(models.Unigram(list(entries.items()), unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [
            AddedToken(t, lstrip=t not in ("<pad>", "<s>", "</s>"), normalized=False, special=True)
            for t in special
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        padding_side="right",
        model_max_length=2048,
    )
