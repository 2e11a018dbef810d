"""Weights of an earlier model with another vocabulary: words keep their embeddings, new ones start fresh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from segue.mini.talk.starts import as_loud
from segue.models.mini.talking import TalkingModel
from segue.training.engine.checkpoints import saved_weights
from segue.training.engine.loop import load_parts
from segue.training.recipe import InitRecipe

EMBEDDINGS = ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight")


def load_talking(model: TalkingModel, tokenizer: Any, init: InitRecipe) -> int:
    """Load parts of a saved model into one that may know other words.

    Args:
        model: changed in place.
        tokenizer: its own.
        init: see `load_parts`; the folder's tokenizer says which row is which word.

    Returns:
        How many words the saved model did not know.

    Raises:
        InputError: as of `load_parts`.
    """
    folder = Path(init.folder)
    if not (folder / "tokenizer.json").exists():
        load_parts(model, init)
        return 0
    known = PreTrainedTokenizerFast.from_pretrained(folder).get_vocab()
    words: dict[str, int] = tokenizer.get_vocab()
    if known == words:
        load_parts(model, init)
        return 0
    saved, target = saved_weights(folder, model), model.state_dict()
    rows = [(own, known[word]) for word, own in words.items() if word in known]
    new, old = (torch.tensor(column) for column in zip(*rows, strict=True))
    with torch.no_grad():
        for name in (n for n in EMBEDDINGS if n in saved and n in target):
            target[name].copy_(as_loud(target[name], saved[name]))
            target[name][new] = saved[name][old].to(target[name].dtype)
    parts = sorted({name.rsplit(".", 1)[0] for name in saved if name in target and name not in EMBEDDINGS})
    wanted = tuple(init.parts) or ("",)
    load_parts(model, InitRecipe(folder=init.folder, parts=[p for p in parts if p.startswith(wanted)]))
    return len(words) - len(rows)
