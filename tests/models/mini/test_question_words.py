"""Questions as the small model reads them: literal slips, names for narrower words, nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.models.mini.question_words import narrower_words, read_question

WORDS = frozenset(
    ("where", "is", "the", "dog", "dogs", "sofa", "trousers", "image", "picture", "which", "shows", "show")
) | {"chair", "bottle", "a", "and"}


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("Wher is the DOG  in (IMAGE2)?", " where is the dog in image 2?"),
        ("which iamge shwos the sofa", " which image shows the sofa"),
        ("Where is the beagle?", " where is the dog?"),
        ("two golden retrievers and a dog", " two dogs and a dog"),
        ("the botle, in picture #3", " the bottle, in picture 3"),
        ("Wo ist der Hund?", " wo ist der hund?"),
        ("the xylqwerty", " the xylqwerty"),
        ("", " "),
    ],
)
def test_reading(typed: str, read: str) -> None:
    assert read_question(typed, WORDS) == read


def test_a_known_word_is_never_changed() -> None:
    assert read_question("the beagle", WORDS | {"beagle"}) == " the beagle"
    assert read_question("show shows", WORDS) == " show shows"


@settings(max_examples=30)
@given(st.text(max_size=60))
def test_reading_twice_changes_nothing_more(text: str) -> None:
    once = read_question(text, WORDS)
    assert read_question(once, WORDS) == once


def test_narrower_words_come_from_the_table() -> None:
    assert narrower_words()["beagle"] == "dog"
