"""Tokenizers of LISA and GLaMM: LLaMA's pieces plus added tokens, split as the published code splits them.

The published code runs LLaMA's slow tokenizer in its old behaviour: blanks around an added token vanish, and
each stretch of text between added tokens begins with a word boundary of its own:

    "it is [SEG]. Next"  ->  _it _is [SEG] _. _Next

A fast tokenizer does the same with a normaliser that puts the boundary before each stretch, and with added
tokens that take the blanks on both sides. Source: transformers 4.31, which GLaMM and LISA pin.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import generate_merges

from segue.errors import ModelError
from segue.protocol import IMAGE_TOKEN

BOUNDARY = "\u2581"
"""First character of a piece that begins a word."""

_CONTROL = 3
_USER_DEFINED = 4
_NORMALIZER, _DUMMY_PREFIX = 3, 3
"""Fields of sentencepiece_model.proto: `normalizer_spec` of the model, `add_dummy_prefix` of it."""


def load_tokenizer(
    folder: Path, added: Sequence[str], rows: int, max_length: int, *, known: dict[str, int] | None = None
) -> PreTrainedTokenizerFast:
    """The tokenizer of a published checkpoint, its added tokens at the ids that the weights know.

    Args:
        folder: with `tokenizer.model` or `tokenizer.json`, and the added tokens where there are some.
        added: the family's tokens in the published order; those that the folder lacks are added.
        rows: of the embedding.
        max_length: of a conversation, in tokens.
        known: added tokens and their ids; those that the folder's files name when None. Empty: what was
            added to LLaMA's own pieces is forgotten.

    Returns:
        A fast tokenizer that also knows `<image>`, as the id after all others.

    Raises:
        ModelError: no tokenizer, or one that does not fit the embedding.
    """
    # `known={}` is an order (forget all additions), None a question (what do the files say?).
    tokenizer = _base(folder) if known is None or known else _without_additions(_base(folder))
    known = added_tokens(folder) if known is None else known
    # In the order of ids: a fast tokenizer gives the next free id, whatever the file said.
    for content, index in sorted(known.items(), key=lambda item: item[1]):
        if tokenizer.token_to_id(content) is None:
            tokenizer.add_special_tokens([AddedToken(content, normalized=False)])
        if tokenizer.token_to_id(content) != index:
            found = f"{content} at {tokenizer.token_to_id(content)}"
            raise _misfit(folder, f"{content} at {index}, as the folder's files say", found)
    missing = [token for token in added if tokenizer.token_to_id(token) is None]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in missing])
    size = tokenizer.get_vocab_size()
    # Fewer tokens than rows are usual, padding of the table; but tokens added here must end exactly at its
    # end, or their ids are those of other rows, without an error.
    if size > rows or (missing and size != rows):
        told = f"{size} tokens" + (f", {len(missing)} of them added here" if missing else "")
        raise _misfit(folder, f"{rows} tokens, one per row of the embedding", told)
    tokenizer.add_special_tokens([AddedToken(IMAGE_TOKEN, normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=_swallowing_blanks(tokenizer, {*added, *known}),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<unk>",
        padding_side="right",
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


def vocabulary_size(folder: Path) -> int:
    """Pieces of the language model's own vocabulary, without any added token.

    Raises:
        ModelError: no tokenizer.
    """
    return int(_base(folder).get_vocab_size(with_added_tokens=False))


def _base(folder: Path) -> Tokenizer:
    # First, because the published code reads this file, with the slow tokenizer.
    if (folder / "tokenizer.model").is_file():
        return from_sentencepiece((folder / "tokenizer.model").read_bytes(), str(folder))
    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    raise _misfit(folder, "tokenizer.model or tokenizer.json", "neither")


def added_tokens(folder: Path) -> dict[str, int]:
    """Added tokens and their ids, from whichever of the two files says it."""
    found: dict[str, int] = {}
    settings = folder / "tokenizer_config.json"
    if settings.is_file():
        entries = json.loads(settings.read_text(encoding="utf-8")).get("added_tokens_decoder", {})
        found |= {entry["content"]: int(index) for index, entry in entries.items()}
    if (folder / "added_tokens.json").is_file():
        found |= json.loads((folder / "added_tokens.json").read_text(encoding="utf-8"))
    return found


def _without_additions(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer without tokens that were added behind its vocabulary."""
    content: dict[str, Any] = json.loads(tokenizer.to_str())
    size = tokenizer.get_vocab_size(with_added_tokens=False)
    content["added_tokens"] = [entry for entry in content["added_tokens"] if entry["id"] < size]
    return Tokenizer.from_str(json.dumps(content))


def _swallowing_blanks(tokenizer: Tokenizer, tokens: set[str]) -> Tokenizer:
    """The tokenizer with these added tokens taking the blanks on both sides; sentence ends do not."""
    content: dict[str, Any] = json.loads(tokenizer.to_str())
    for entry in content["added_tokens"]:
        if entry["content"] in tokens - {"<unk>", "<s>", "</s>"}:
            entry["lstrip"] = entry["rstrip"] = True
    return Tokenizer.from_str(json.dumps(content))


def from_sentencepiece(content: bytes, where: str, named: Mapping[int, str] | None = None) -> Tokenizer:
    """A fast BPE tokenizer from the bytes of a LLaMA `tokenizer.model`.

    Args:
        content: of the file.
        where: what error messages call it.
        named: id to the name of a special token, which the file keeps under another one.

    Raises:
        ModelError: the bytes are no SentencePiece model.
    """
    named = named or {}
    try:
        pieces = list(_pieces(content))
        begins = _begins_words(content)
    except (IndexError, KeyError, ValueError, AttributeError, struct.error) as error:
        raise _misfit(Path(where), "a SentencePiece model in tokenizer.model", str(error)) from None
    # Names that the weights know for pieces that the file calls something else.
    pieces = [(named.get(index, piece), score, kind) for index, (piece, score, kind) in enumerate(pieces)]
    vocab = {piece: index for index, (piece, _, _) in enumerate(pieces)}
    if "<unk>" not in vocab or "</s>" not in vocab:
        raise _misfit(Path(where), "LLaMA's <unk>, <s> and </s> in tokenizer.model", f"{len(vocab)} pieces")
    # Control pieces and those that a user defined are found whole, never merged from parts.
    scores = {piece: score for piece, score, kind in pieces if kind not in (_CONTROL, _USER_DEFINED)}
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocab,
            merges=generate_merges(vocab, scores),
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    first = [normalizers.Prepend(BOUNDARY)] if begins else []
    tokenizer.normalizer = normalizers.Sequence([*first, normalizers.Replace(" ", BOUNDARY)])
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace(BOUNDARY, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    tokenizer.add_special_tokens(
        [
            AddedToken(token, normalized=False)
            for token in ("<unk>", "<s>", "</s>", *named.values())
            if token in vocab
        ]
    )
    return tokenizer


INTERNLM2_SPECIAL = {
    92538: "<|plugin|>",
    92539: "<|interpreter|>",
    92540: "<|action_end|>",
    92541: "<|action_start|>",
    92542: "<|im_end|>",
    92543: "<|im_start|>",
}
"""Names of InternLM2's last six pieces, which its file calls unused. Source: its tokenizer_config.json."""


def internlm2_tokenizer(
    folder: Path, added: Sequence[str], rowless: str, rows: int
) -> PreTrainedTokenizerFast:
    """InternLM2's tokenizer with added tokens at the ids that OMG-LLaVA's weights know.

    Its special tokens are pieces of the file under other names. Newer transformers put them behind the file's
    pieces a second time, which moves everything that is added; here ids are explicit.

    Args:
        folder: with `tokenizer.model`.
        added: behind InternLM2's own, in this order, up to the last row.
        rowless: a further token, which is always replaced before it is looked up.
        rows: of the embedding.

    Raises:
        ModelError: no tokenizer, or one that does not fit the embedding.
    """
    file = folder / "tokenizer.model"
    if not file.is_file():
        raise _misfit(folder, "InternLM2's tokenizer.model", "no such file")
    content = file.read_bytes()
    # Of a file with fewer pieces (a test's), the last ones.
    size = sum(1 for _ in _pieces(content))
    last = max(INTERNLM2_SPECIAL)
    named = {size - 1 - (last - index): token for index, token in INTERNLM2_SPECIAL.items()}
    stated = {t: i for t, i in added_tokens(folder).items() if t in named.values()}
    named |= {index: token for token, index in stated.items()}
    tokenizer = from_sentencepiece(content, str(folder), named)
    for token in (*added, rowless, IMAGE_TOKEN):
        tokenizer.add_special_tokens([AddedToken(token, normalized=False)])
    expected = {token: rows - len(added) + place for place, token in enumerate((*added, rowless))}
    found = {token: tokenizer.token_to_id(token) for token in expected}
    if found != expected:
        raise _misfit(folder, f"{expected}, one per row of the embedding", str(found))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="<|im_end|>",
        unk_token="<unk>",
        pad_token="</s>",
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def _begins_words(content: bytes) -> bool:
    """Whether a text begins with a word boundary of its own, which it does unless the file says no."""
    for number, value in _fields(content):
        if number == _NORMALIZER and isinstance(value, bytes):
            return bool(dict(_fields(value)).get(_DUMMY_PREFIX, 1))
    return True


def _pieces(content: bytes) -> Iterator[tuple[str, float, int]]:
    """(text, score, kind) of each piece: field 1 of the model is a piece with its own fields 1, 2 and 3."""
    for number, value in _fields(content):
        if number == 1 and isinstance(value, bytes):
            # The defaults of sentencepiece_model.proto: score 0, kind 1 (normal). Read by hand, so that
            # neither sentencepiece nor protobuf is needed.
            piece: dict[int, Any] = {2: 0.0, 3: 1} | dict(_fields(value))
            yield piece[1].decode("utf-8"), float(piece[2]), int(piece[3])


def _fields(content: bytes) -> Iterator[tuple[int, bytes | int | float]]:
    """The fields of one protobuf message: (number, value)."""
    position = 0
    while position < len(content):
        # The key holds the field's number and, in its last three bits, how the value is stored: 0 varint, 1
        # eight bytes, 2 length and bytes, 5 four bytes.
        key, position = _varint(content, position)
        kind = key & 7
        if kind == 0:
            value, position = _varint(content, position)
            yield key >> 3, value
        elif kind == 2:
            length, position = _varint(content, position)
            if position + length > len(content):
                raise ValueError("the file ends inside a field")
            yield key >> 3, content[position : position + length]
            position += length
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            (number,) = struct.unpack_from("<d" if kind == 1 else "<f", content[position : position + size])
            yield key >> 3, float(number)
            position += size
        else:
            raise ValueError(f"field type {kind} at byte {position}")


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[position]
        # Seven bits a byte, the lowest first; the eighth says that more come. 0xAC 0x02 -> 44 + 2 * 128,
        # which is 300.
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
        # Ten bytes hold every 64-bit number; more is damage.
        if shift > 63:
            raise ValueError("a number without an end")


def _misfit(folder: Path, expected: str, found: str) -> ModelError:
    return ModelError(
        "The tokenizer does not fit the checkpoint.",
        expected=expected,
        found=found,
        where=str(folder),
        fix="put the tokenizer files of the published repository beside the weights",
    )
