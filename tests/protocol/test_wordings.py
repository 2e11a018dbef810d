"""Questions as published models were trained to be asked."""

import pytest

from segue.errors import InputError
from segue.protocol import DIALECTS, WORDINGS, word_question


def test_an_expression_stands_in_the_family_s_question() -> None:
    assert word_question("refer", "the red mug?", "sa2va") == "Please segment the red mug in this image."
    assert word_question("refer", "the red mug", "glamm") == "Can you segment the red mug in this image?"
    assert word_question("refer", "red mug", "glamm") == "Can you segment the red mug in this image?"
    assert word_question("refer", "a mug", "lisa").startswith("What is a mug in this image? ")
    assert "interleaved segmentation masks" in word_question("describe", "", "sa2va")


def test_every_dialect_with_wordings_exists() -> None:
    assert WORDINGS.keys() <= DIALECTS.keys()


@pytest.mark.parametrize(
    ("wording", "text", "dialect", "named"),
    [
        ("refer", "a mug", "prima", "glamm"),
        ("describe", "", "lisa", "sa2va, glamm"),
        ("refer", " ", "sa2va", "an expression"),
        ("describe", "a mug", "sa2va", "no text"),
    ],
)
def test_what_does_not_fit_is_said(wording: str, text: str, dialect: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        word_question(wording, text, dialect)
