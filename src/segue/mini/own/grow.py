"""A trained embedded model learns to hold new names: a branch of its eyes, words, embeddings.

What it knew keeps its weights, its token ids and its calibration.

Legend: V tokens, D width of the language model.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, pre_tokenizers
from torch import Tensor

from segue.data.language import english
from segue.mini.assemble import phrase_names, spelled_words
from segue.mini.own.names import OwnNames
from segue.mini.talk.kinds import Kinds, kinds_of
from segue.mini.talk.starts import ALIKE, OWN
from segue.mini.talk.vocabulary import WORD
from segue.models.mini.embedded import EmbeddedModel
from segue.models.mini.eyes import Branch, Eyes
from segue.models.mini.names import NameTable
from segue.models.mini.presence import GROUPS, taught_quantiles
from segue.models.mini.readout import RARE
from segue.models.mini.segmenter_mini import MiniSegmenter
from segue.models.mini.spelled_findings import FindingSpeller
from segue.models.mini.talking import TalkingProcessor


def grow(model: EmbeddedModel, processor: TalkingProcessor, own: OwnNames) -> Kinds:
    """Give a model names, in place; one whose last branch has just these names goes on with it.

    Args:
        processor: its own, whose vocabulary grows too.

    Returns:
        All that can be spoken of now.
    """
    grow_eyes(model, own)
    kinds = kinds_of(model.config.table())
    learn_words(model, processor, kinds, own.names)
    return kinds


def grow_eyes(model: EmbeddedModel, own: OwnNames) -> None:
    """The part of `grow` that brings parameters: a readout and a decoder for the names."""
    branches = [list(branch) for branch in model.config.own_names or ()]
    if not branches or {entry["name"] for entry in branches[-1]} != set(own.names):
        model.config.own_names = [*branches, [dict(entry) for entry in own.entries]]
        model.seeing = with_branch(model.seeing.eyes, model.config.table())


# ---- eyes -------------------------------------------------------------------------------------------------


@torch.no_grad()
def with_branch(before: Eyes, table: NameTable) -> MiniSegmenter:
    """A segmenter with the eyes of before and one more branch, which starts as their first readout.

    Args:
        before: in whatever mode; its weights are copied.
        table: of before with one more branch.
    """
    segmenter = MiniSegmenter(table).to(before.decoder.embed.weight.device)
    eyes = segmenter.eyes
    eyes.readout.load_state_dict(before.readout.state_dict())
    eyes.decoder.load_state_dict(before.decoder.state_dict())
    for old, new in zip(before.branches, eyes.branches, strict=False):
        new.load_state_dict(old.state_dict())
    _keep_presence(before, eyes)
    _start_branch(before, eyes)
    return segmenter


def _start_branch(before: Eyes, eyes: Eyes) -> None:
    """Let the last branch start with the weights of the first readout and decoder."""
    branch = eyes.branches[-1]
    assert isinstance(branch, Branch)
    branch.decoder.load_state_dict(before.decoder.state_dict())
    known = {k: v for k, v in before.readout.state_dict().items() if not k.startswith("names.")}
    branch.readout.load_state_dict(known, strict=False)
    # Nothing random: a run that goes on must begin as the one that it continues.
    torch.nn.init.zeros_(branch.readout.names.weight)
    torch.nn.init.constant_(branch.readout.names.bias, RARE)  # type: ignore[arg-type]
    shipped = before.table.shipped()
    for row, name in enumerate(eyes.table.branches[-1]):
        if name in shipped:
            for part in ("weight", "bias"):
                rows = getattr(branch.readout.names, part)
                rows[row] = getattr(before.readout.names, part)[shipped.index(name)]


def _keep_presence(before: Eyes, eyes: Eyes) -> None:
    """Calibration of the names that were there, and the start of the new ones'."""
    old, new = before.presence, eyes.presence
    new.folded_at.copy_(old.folded_at)
    new.weights[: len(old.weights)] = old.weights
    trained = before.table.trained()
    new.trained_at.copy_(taught_quantiles(len(eyes.table.trained())))
    for row, name in enumerate(eyes.table.trained()):
        if name in trained:
            new.trained_at[row] = old.trained_at[trained.index(name)]
    names = list(before.table.names)
    taught = eyes.table.taught(len(eyes.table.branches) - 1)
    for row, name in enumerate(eyes.table.names):
        if name in taught:
            new.group[row] = len(GROUPS) + len(eyes.table.branches) - 1
        elif name in before.table.names:
            new.group[row] = old.group[names.index(name)]


# ---- words ------------------------------------------------------------------------------------------------


@torch.no_grad()
def learn_words(
    model: EmbeddedModel, processor: TalkingProcessor, kinds: Kinds, names: Sequence[str]
) -> None:
    """Let each word of some names, and its plural, be a token whose embedding says that it is a name."""
    tokenizer = processor.tokenizer
    before = len(tokenizer)
    phrases = [form for name in names for form in kinds.forms(name)]
    tokenizer = with_words(tokenizer, [*names, *phrases])
    processor.learn_names(tokenizer, names)
    if len(tokenizer) > before:
        model.language_model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        model.config.text_config.vocab_size = len(tokenizer)
        _start_rows(model, tokenizer, kinds, before)
    spell = FindingSpeller(tokenizer)
    model.config.word_ids = spelled_words(spell, kinds)
    model.config.phrase_names = phrase_names(spell, kinds)
    model.read_words()


def with_words(tokenizer: Any, words: Iterable[str]) -> Any:
    """A copy of a tokenizer of `word_tokenizer` with tokens for more words; ids of the others stay."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    entries: list[list[Any]] = content["model"]["vocab"]
    known = {piece for piece, _ in entries}
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for word in words:
        for piece, _ in splitter.pre_tokenize_str(f" {word}"):
            # Endings such as "'s" and signs fall into pieces that are there.
            if piece not in known and piece.startswith("Ġ") and piece[1:].isalnum():
                entries.append([piece, WORD])
                known.add(piece)
    grown = copy.deepcopy(tokenizer)
    grown._tokenizer = Tokenizer.from_str(json.dumps(content))
    return grown


def _start_rows(model: EmbeddedModel, tokenizer: Any, kinds: Kinds, before: int) -> None:
    """Start rows `[before, V)` of the embeddings as names are, plurals as plurals of their names."""
    table: Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]

    def token(word: str) -> int | None:
        ids = tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
        return int(ids[0]) if len(ids) == 1 else None

    pairs = [(token(name), token(english.plural(name))) for name in kinds.names]
    known = [(one, many) for one, many in pairs if one and many and one != many and max(one, many) < before]
    usual = table[[one for one, _ in known]] if known else table[:before]
    many_more = (table[[many for _, many in known]] - usual).mean(0) if known else 0.0
    noise = torch.Generator().manual_seed(before)
    fresh = torch.randn((len(table) - before, table.shape[1]), generator=noise).to(table) * usual.std(0)
    table[before:] = usual.mean(0) + fresh
    vocabulary = tokenizer.get_vocab()
    words = {piece[1:]: row for piece, row in vocabulary.items() if row >= before and piece.startswith("Ġ")}
    for word in words:
        plural = words.get(english.plural(word))
        if plural is not None and plural != words[word]:
            own = fresh[plural - before]
            table[plural] = ALIKE * table[words[word]] + OWN * own + many_more
