"""Questions as the small model reads them: literal slips, names for narrower words, nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.models.mini.question_words import (
    UNHEARD,
    narrower_words,
    read_question,
    real_words,
    unheard_words,
)

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
        ("a couch", " a sofa"),
        ("two Couches, two puppies, two pups", " two sofa, two puppies, two dogs"),
        ("the botle, in picture #3", " the bottle, in picture 3"),
        ("Wo ist der Hund?", " wo ist der hund?"),
        ("the xylqwerty", " the xylqwerty"),
        ("", " "),
    ],
)
def test_reading(typed: str, read: str) -> None:
    assert read_question(typed, WORDS) == read


def test_what_is_no_name_is_never_changed() -> None:
    assert read_question("show shows", WORDS) == " show shows"
    assert read_question("display the couch", WORDS) == " display the sofa"
    assert read_question("the beagle", WORDS - {"dog"}) == " the beagle"


def test_the_longest_name_is_meant() -> None:
    words = WORDS | {"pool", "table", "tables", "dining", "person", "people"}
    assert read_question("the pool table and the table", words) == " the pool table and the dining table"
    assert (
        read_question("two kids and two tables, people", words) == " two people and two dining tables, people"
    )
    assert read_question("the table", words, dict(narrower_words()) | {"table": "table"}) == " the table"


@settings(max_examples=30)
@given(st.text(max_size=60))
def test_reading_twice_changes_nothing_more(text: str) -> None:
    once = read_question(text, WORDS)
    assert read_question(once, WORDS) == once


def test_narrower_words_come_from_the_table() -> None:
    assert narrower_words()["beagle"] == narrower_words()["dog"] == "dog"


@pytest.mark.parametrize(
    ("typed", "read", "unheard"),
    [
        ("Where is the pumpkin?", " where is the whatsit?", ["pumpkin"]),
        ("the fluffy beagle and the quokkas", " the whatsit dog and the whatsit", ["fluffy", "quokkas"]),
        ("the dog's sofa", " the dog's sofa", []),
        ("Show this <region> (IMAGE1) pls", " show whatsit<region> image 1 whatsit", ["this", "pls"]),
        ("<region>", " <region> ", []),
    ],
)
def test_words_that_nobody_taught(typed: str, read: str, unheard: list[str]) -> None:
    words = WORDS | {UNHEARD}
    assert read_question(typed, words) == read
    assert unheard_words(typed, words) == unheard


def test_real_words_are_no_slips_of_the_keyboard() -> None:
    words = {"mark", "the", "bears", "glass", "nose", UNHEARD}
    assert read_question("Mark the bearz and glas", words) == f" mark the bears {UNHEARD} glass"
    assert read_question("Mark the ears", words) == f" mark the {UNHEARD}"
    assert read_question("the grass", words) == f" the {UNHEARD}"
    assert {"ear", "hoof", "wheel", "grass"} <= real_words()
    assert "lfho" not in real_words(), "what files write is no word"


@pytest.mark.parametrize("who", ["Which person wears", "Who is wearing", "which one wears", "WHO WEARS"])
def test_who_wears_it_is_which_image_shows_it(who: str) -> None:
    assert read_question(f"{who} the sofa?", WORDS) == " which image shows the sofa?"
    assert read_question("What does the person wear?", frozenset()) == " what does the person wear?"


def test_a_model_without_the_word_for_them_reads_letters_as_before() -> None:
    assert read_question("the pumpkin", WORDS) == " the pumpkin"
    assert unheard_words("the pumpkin", WORDS) == []
