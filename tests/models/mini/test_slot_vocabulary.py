"""Names of slots are spelled by the tokenizer, in one token where an instruction is searched for them."""

from __future__ import annotations

from typing import Any

from segue.models.mini.slot_vocabulary import slot_name_ids, slot_word_ids


def test_names_are_spelled_by_the_tokenizer(tiny_tokenizer: Any) -> None:
    words = slot_word_ids(tiny_tokenizer, ["red", "teapot"])
    assert ["".join(tiny_tokenizer.convert_ids_to_tokens(ids)).strip("Ġ") for ids in words] == [
        "red",
        "teapot",
    ]
    for ids, name in zip(slot_name_ids(tiny_tokenizer, ["red", "zzyzx"]), ["red", "zzyzx"], strict=True):
        single = [f" {name}{end}" for end in ("", "s", "es")]
        single = [s for s in single if len(tiny_tokenizer(s, add_special_tokens=False)["input_ids"]) == 1]
        assert len(ids) == len(single)
