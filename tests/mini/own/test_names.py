"""Own names are the table's where it has them, and new ones where it knows something else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from segue.data.own.things import Thing
from segue.mini.own import names
from segue.mini.own.names import names_of, table_name
from segue.models.mini.names import name_table


def source(*things: Thing) -> Any:
    positions = {thing: list(range(9 - place)) for place, thing in enumerate(things)}
    return SimpleNamespace(catalogue=SimpleNamespace(positions=positions))


@pytest.mark.parametrize(
    ("word", "name"), [("dog", "dog"), ("puppy", "dog"), ("beagle", "beagle"), ("zorble", "zorble")]
)
def test_synonyms_are_names_of_the_table_and_narrower_words_are_not(word: str, name: str) -> None:
    assert table_name(word, name_table()) == name


def test_parts_are_named_with_their_wholes() -> None:
    own = names_of([source(Thing("car"), Thing("hood", "automobile"), Thing("head", "dog"))], name_table())
    assert own.names == ("car", "car hood", "dog head")
    assert own.entries[1] == {"name": "car hood", "whole": "car", "part": "hood"}
    assert own.named[Thing("hood", "automobile")] == "car hood"
    assert [e.get("under") for e in own.under({"car"}).entries] == [None, "car", None]


def test_the_rarest_names_are_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MOST_NAMES", 2)
    own = names_of([source(Thing("ab"), Thing("cd"), Thing("ef"), Thing("g . h"))], name_table())
    assert own.names == ("ab", "cd")
    assert own.left_out == ("ef", "g . h")
