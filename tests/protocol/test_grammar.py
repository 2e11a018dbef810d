"""What an answer may go on with, in every dialect."""

from __future__ import annotations

import pytest

from segue.protocol import DIALECTS, IMAGE_TOKEN, OBJ_TOKEN, PHRASE_END, PHRASE_START, SEG_TOKEN
from segue.protocol.grammar import END, AnswerGrammar


def grammar(dialect: str, num_images: int) -> AnswerGrammar:
    return AnswerGrammar(DIALECTS[dialect], num_images)


@pytest.mark.parametrize(
    "written", ["", " ", " (", "(IM", " (IMAGE", " (IMAGE2", " (IMAGE2)", "(IMAGE1). It"]
)
def test_the_identifier_of_an_image_that_exists_may_follow(written: str) -> None:
    assert grammar("prima", 2).permits(written)


@pytest.mark.parametrize("written", [".", "  (", " (IMAGE3", " (IMAGE0", " (image", " (IMAGE 1", " (IMAGE12"])
def test_nothing_else_may_follow_where_images_are_named(written: str) -> None:
    assert not grammar("prima", 2).permits(written)
    assert not grammar("glamm", 2).permits(written)


def test_the_identifier_ends_with_its_bracket() -> None:
    assert grammar("prima", 2).undecided(" (IMAGE2")
    assert not grammar("prima", 2).undecided(" (IMAGE2)")


@pytest.mark.parametrize("dialect", ["glamm", "lisa", "miras"])
def test_one_image_needs_no_name_but_no_other_may_be_named(dialect: str) -> None:
    one = grammar(dialect, 1)
    for right in (".", " (IMAGE1)", " (image of a cat)"):
        assert one.permits(right), right
    for wrong in (" (IMAGE2", " (IMAGE2)", "(image #3", " (IMAGE0)"):
        assert not one.permits(wrong), wrong
    assert [one.undecided(text) for text in ("", " (IMAGE", " and")] == [True, True, False]


@pytest.mark.parametrize(
    ("dialect", "tags", "forbidden"),
    [
        ("prima", [], {IMAGE_TOKEN, OBJ_TOKEN, PHRASE_END}),
        ("prima", [PHRASE_START], {IMAGE_TOKEN, OBJ_TOKEN, PHRASE_START, SEG_TOKEN, END}),
        ("prima", [PHRASE_START, PHRASE_END], {IMAGE_TOKEN, OBJ_TOKEN, PHRASE_END}),
        ("miras", [], {IMAGE_TOKEN, PHRASE_END}),
        ("miras", [OBJ_TOKEN], {IMAGE_TOKEN, OBJ_TOKEN, PHRASE_START, PHRASE_END, END}),
        ("miras", [OBJ_TOKEN, SEG_TOKEN], {IMAGE_TOKEN, PHRASE_END}),
    ],
)
def test_tags_close(dialect: str, tags: list[str], forbidden: set[str]) -> None:
    assert grammar(dialect, 2).forbidden(tags) == forbidden
