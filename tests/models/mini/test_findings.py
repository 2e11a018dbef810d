"""Findings: literal spelling, the order that never depends on how they came, and the way back from words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.errors import InputError
from segue.models.mini.findings import (
    MOST_FINDINGS,
    PRESENCE_WORDS,
    Finding,
    finding_vocabulary,
    listed,
    parse_spelled,
    spell,
)
from segue.models.mini.presets_mini import MINI_COLOURS

fractions = st.floats(0, 1)
names = st.sampled_from(["dog", "wine glass", "head of dog", "sofa", "left", "big"])
colours = st.sampled_from([None, *MINI_COLOURS])
found = st.builds(Finding, names, fractions, st.tuples(fractions, fractions), fractions, colours)


def test_a_list_reads_from_left_to_right() -> None:
    dog, sofa = Finding("dog", 0.9, (0.55, 0.1), 0.06), Finding("sofa", 0.6, (0.8, 0.5), 0.3)
    assert spell([sofa, dog]) == "dog sure left halfway large xb yg . sofa likely middle bottom huge xg yj"
    assert spell([]) == ""


@given(st.lists(found, max_size=2 * MOST_FINDINGS))
def test_words_lead_back_to_the_same_words(findings: list[Finding]) -> None:
    text = spell(findings)
    assert spell(parse_spelled(text, MINI_COLOURS)) == text


@given(st.lists(found, max_size=8), st.randoms())
def test_the_order_in_which_they_were_found_does_not_matter(findings: list[Finding], random: object) -> None:
    shuffled = list(findings)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert spell(shuffled) == spell(findings)


def test_the_surest_sixteen_are_spelled() -> None:
    findings = [Finding(f"thing{i}", i / 40, (0.5, 0.5), 0.1) for i in range(40)]
    assert {f.name for f in listed(findings)} == {f"thing{i}" for i in range(40 - MOST_FINDINGS, 40)}


@pytest.mark.parametrize(("presence", "word"), [(0.0, 0), (0.29, 0), (0.3, 1), (0.5, 2), (0.8, 3), (1.0, 3)])
def test_presence_words_begin_at_their_bounds(presence: float, word: int) -> None:
    assert Finding("dog", presence, (0, 0), 0).presence_word == PRESENCE_WORDS[word]


@given(found)
def test_every_word_but_name_and_colour_is_of_the_vocabulary(finding: Finding) -> None:
    assert set(finding.words[1:7]) <= set(finding_vocabulary())


@pytest.mark.parametrize(
    ("name", "presence", "area"),
    [("", 0.5, 0.1), ("a  b", 0.5, 0.1), ("a . b", 0.5, 0.1), ("dog", 1.2, 0.1), ("dog", 0.5, float("nan"))],
)
def test_what_cannot_be_spelled_is_refused(name: str, presence: float, area: float) -> None:
    with pytest.raises(InputError, match="finding"):
        Finding(name, presence, (0.5, 0.5), area)


@pytest.mark.parametrize("text", ["dog", "dog sure left top large xb", "dog certain left top large xb ya"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a spelled finding"):
        parse_spelled(text)
