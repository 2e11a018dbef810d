"""How the names that object slots can read are spelled: for the language model, and for the Q-Former."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Ids = list[list[int]]


def slot_word_ids(tokenizer: Any, names: Sequence[str]) -> Ids:
    """Token ids by which the language model hears each name; see `MiniConfig.slot_word_ids`."""
    return [list(tokenizer(f" {name}", add_special_tokens=False)["input_ids"]) for name in names]


def slot_name_ids(tokenizer: Any, names: Sequence[str]) -> Ids:
    """Token ids by which an instruction names each of them in one token; see `MiniConfig.slot_name_ids`."""
    forms = [slot_word_ids(tokenizer, [f"{name}{end}" for end in ("", "s", "es")]) for name in names]
    return [[ids[0] for ids in form if len(ids) == 1] for form in forms]
