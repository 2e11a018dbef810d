"""What a user gives: half characters, blanks, numbers of images."""

import importlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import segue.inference
from segue.errors import InputError
from segue.inference.inputs import check_budget, check_question, load_images, whole_unicode
from tiny_model import picture


@given(st.text(st.characters(codec="utf-8")))
def test_whole_text_is_unchanged(text: str) -> None:
    assert whole_unicode(text) == text


@given(st.text(st.characters()))
def test_any_text_becomes_writable(text: str) -> None:
    whole_unicode(text).encode("utf-8")


def test_surrogate_pairs_are_joined_and_halves_replaced() -> None:
    assert check_question(" a\ud83d\ude00 b\udcff ") == "a\U0001f600 b\ufffd"


def test_a_path_that_is_not_utf8_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "a\udcff.png"
    try:
        picture().save(path)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes UTF-8 names only")
    assert load_images([path])[1] == [str(tmp_path / "a\ufffd.png")]


def test_the_budget() -> None:
    assert check_budget(1) == 1
    with pytest.raises(InputError, match="found:    -3"):
        check_budget(-3)


def test_threads_are_told_to_wait_quietly_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    importlib.reload(segue.inference)
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    importlib.reload(segue.inference)
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
