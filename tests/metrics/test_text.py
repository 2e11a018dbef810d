"""Phrase metrics: normal forms, one-to-one matching, counts and identifier accuracy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.metrics import PhraseCounts, count_phrases, match_phrases, normalise_phrase

KEYS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["red mug", "The red mug", "lamp", "lamp's base"]))
)


@pytest.mark.parametrize(
    ("phrase", "normal"),
    [
        ("red mug", "red mug"),
        ("  The  Red\tmug. ", "red mug"),
        ("an apple", "apple"),
        ("mug\u2019s handle", "mug's handle"),
        ("theatre", "theatre"),
        ("the", "the"),
        ("A", "a"),
        ('"a lamp"', "lamp"),
        ("T-shirt", "t-shirt"),
        ("...", ""),
        ("", ""),
        ("Stra\u00dfe", "strasse"),
        ("\u30de\u30b0", "\u30de\u30b0"),
    ],
)
def test_normal_forms(phrase: str, normal: str) -> None:
    assert normalise_phrase(phrase) == normal


@given(st.text())
def test_normalising_twice_changes_nothing(phrase: str) -> None:
    assert normalise_phrase(normalise_phrase(phrase)) == normalise_phrase(phrase)


def test_matching_needs_the_image_and_the_phrase() -> None:
    predicted = [(0, "red mug"), (1, "red mug"), (0, "lamp")]
    truth = [(1, "The red mug"), (0, "chair"), (1, "lamp")]
    assert match_phrases(predicted, truth) == [(1, 0)]


def test_equal_keys_are_paired_by_score() -> None:
    table = {(0, 0): 0.1, (0, 1): 0.9, (1, 0): 0.8, (1, 1): 0.95}
    keys = [(0, "cup"), (0, "cup")]
    assert match_phrases(keys, keys, score=lambda i, j: table[i, j]) == [(0, 0), (1, 1)]
    assert match_phrases(keys, keys, score=lambda i, j: float(i != j)) == [(1, 0), (0, 1)]


@given(KEYS, KEYS)
def test_matching_is_one_to_one_and_as_large_as_the_counts_say(
    predicted: list[tuple[int, str]], truth: list[tuple[int, str]]
) -> None:
    pairs = match_phrases(predicted, truth, score=lambda i, j: (7 * i + 3 * j) % 5)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert all(predicted[i][0] == truth[j][0] for i, j in pairs)
    counts = count_phrases(predicted, truth)
    assert counts.right == len(pairs)
    assert (counts.right + counts.surplus, counts.right + counts.missing) == (len(predicted), len(truth))


def test_f1_by_hand() -> None:
    counts = count_phrases([(0, "mug"), (0, "mug"), (1, "lamp")], [(0, "mug"), (1, "lamp"), (1, "chair")])
    assert counts == PhraseCounts(2, 1, 1)
    assert counts.f1 == pytest.approx(4 / 6)
    assert (counts.precision, counts.recall) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert not counts.exact
    assert counts + PhraseCounts(1, 0, 2) == PhraseCounts(3, 1, 3)


def test_an_empty_turn_is_exact_and_has_no_f1() -> None:
    counts = count_phrases([], [])
    assert counts.exact
    assert (counts.f1, counts.precision, counts.recall) == (None, None, None)
    assert count_phrases([], [(0, "mug")]).f1 == 0.0
    assert count_phrases([(0, "mug")], []).f1 == 0.0
