"""The small tokenizer: tags are single tokens with fixed ids, and every typing can be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from segue import protocol
from segue.mini.tokenizer import MAX_IMAGES, SPECIAL_TOKENS, train_tokenizer


def test_special_tokens_have_the_ids_of_the_presets(small_tokenizer: Any) -> None:
    tokenizer = small_tokenizer
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(range(16))
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert SPECIAL_TOKENS[-1] == protocol.identifier(MAX_IMAGES - 1) == "(IMAGE9)"
    assert len(tokenizer) <= 700


def test_tags_swallow_the_blank_before_them(small_tokenizer: Any) -> None:
    markup = "The <p> red mug </p> [SEG] (IMAGE2)."
    ids = small_tokenizer(markup, add_special_tokens=False)["input_ids"]
    tokens = small_tokenizer.convert_ids_to_tokens(ids)
    assert "".join(tokens[: tokens.index("<p>")]) == "The"
    assert tokens[-4:] == ["</p>", "[SEG]", "(IMAGE2)", "."]
    assert "Ġ" not in tokens


def test_frequent_words_are_one_token(small_tokenizer: Any) -> None:
    for text in (" image", " the", " USER", " ASSISTANT"):
        assert len(small_tokenizer(text, add_special_tokens=False)["input_ids"]) == 1, text


@given(text=st.text(st.characters(exclude_categories=("Cs",)), max_size=20))
def test_any_typing_survives(small_tokenizer: Any, text: str) -> None:
    escaped = protocol.escape_user_text(text).replace("(IMAGE", "( IMAGE")
    ids = small_tokenizer(escaped, add_special_tokens=False)["input_ids"]
    assert small_tokenizer.decode(ids, clean_up_tokenization_spaces=False) == escaped
    assert all(i >= len(SPECIAL_TOKENS) for i in ids)


def test_training_is_deterministic_and_survives_saving(tmp_path: Path) -> None:
    texts = ["the red mug is red", "a blue lamp is in image 2"] * 5
    first, second = (train_tokenizer(iter(texts), 300) for _ in range(2))
    assert first.get_vocab() == second.get_vocab()
    first.save_pretrained(tmp_path)
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    question = "Is the <p> mug </p> [SEG] (IMAGE1) red? é🙂"
    assert again(question)["input_ids"] == first(question)["input_ids"]
    assert again.decode(again("é🙂")["input_ids"]) == "é🙂"
