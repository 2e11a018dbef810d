"""Hurried questions: what is asked for stays, whatever is left out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from segue.mini.question_noise import SMALL_WORDS, hurried

WORDS = st.lists(
    st.sampled_from(
        ["what", "is", "the", "left", "of", "not", "mug?", "image", "2,", "Which", "other", "handle"]
    ),
    min_size=1,
    max_size=12,
)


@given(WORDS, st.integers(0, 10**6))
def test_only_small_words_are_left_out_and_no_name_is_misspelled(words: list[str], seed: int) -> None:
    kept = frozenset({"handle", "other", "image"})
    said = hurried(" ".join(words), np.random.default_rng(seed), kept).split()
    assert said
    matters = [w for w in words if w.strip("?,").lower() not in SMALL_WORDS]
    assert [w for w in said if w.strip("?,").lower() not in SMALL_WORDS | {"wihch", "whcih"}] == matters


def test_letters_are_swapped_inside_a_word() -> None:
    drawn = {hurried("Outline mugs.", np.random.default_rng(k)) for k in range(200)}
    assert "Outline mugs." in drawn
    others = drawn - {"Outline mugs."}
    assert others
    for text in others:
        first = text.split()[0]
        assert sorted(first) == sorted("Outline")
        assert (first[0], first[-1]) == ("O", "e")
        assert text.endswith(" mugs.")


def test_a_question_of_small_words_alone_stays() -> None:
    for seed in range(50):
        assert hurried("What is this?", np.random.default_rng(seed)).strip()
    texts = {hurried("What is the red mug on?", np.random.default_rng(k)) for k in range(100)}
    assert len(texts) > 5
    assert all("red mug" in text for text in texts)
