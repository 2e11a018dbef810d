"""Codes are fixed, spread out, and tell owner from part."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from segue.mini.phrase_codes import phrase_code
from segue.scenes.kinds import COLOURS, KINDS, possessive


def cosine(a: str, b: str) -> float:
    x, y = phrase_code(a, 256), phrase_code(b, 256)
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def test_codes_are_the_same_on_every_machine() -> None:
    digest = hashlib.sha256(b"owner\0mug").digest()
    expected = (
        np.random.default_rng(int.from_bytes(digest[:8], "little")).standard_normal(8).astype(np.float32)
    )
    np.testing.assert_array_equal(phrase_code("mug", 8), expected)
    assert phrase_code("mug", 8).dtype == np.float32


def test_codes_have_unit_variance_whatever_the_length() -> None:
    for phrase in ("mug", "red mug", "red mug's handle", "a b c d e f g h"):
        assert phrase_code(phrase, 4096).std() == pytest.approx(1, abs=0.05)


def test_case_does_not_matter_and_words_do() -> None:
    assert cosine("Red Mug", "red mug") == pytest.approx(1, abs=1e-6)
    assert cosine("red mug", "blue mug") == pytest.approx(0.5, abs=0.2)
    assert abs(cosine("red mug", "blue lamp")) < 0.25


def test_owner_and_part_are_different_words() -> None:
    # A handle's head and a head's handle are not the same thing, and "head" alone is an owner.
    assert cosine("hammer's head", "head's hammer") < 0.25
    assert cosine("hammer's head", "hammer head") < 0.8
    whole = phrase_code("scissors' blades", 64) * np.sqrt(2)
    np.testing.assert_allclose(
        whole - phrase_code("scissors", 64),
        phrase_code("x's blades", 64) * np.sqrt(2) - phrase_code("x", 64),
        atol=1e-5,
    )


def test_all_phrases_of_scenes_are_told_apart() -> None:
    phrases = [f"{c} {k}" for c in COLOURS for k in KINDS]
    phrases += [f"{possessive(f'{c} {k}')} {p}" for c in COLOURS for k in KINDS for p in KINDS[k].parts]
    codes = np.stack([phrase_code(p, 128) for p in phrases])
    assert len({code.tobytes() for code in codes}) == len(phrases)
    unit = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    likeness = unit @ unit.T - np.eye(len(unit))
    assert likeness.max() < 0.95


def test_nothing_has_no_code() -> None:
    assert not phrase_code("", 8).any()
    assert not phrase_code("   ", 8).any()
