"""The ledger: what a kill leaves behind, at every byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.datasets.generation.ledger import Ledger
from segue.errors import InputError, RecordError


def test_lines_come_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "new" / "l.jsonl")
    ledger.append({"key": "a", "text": "é\n\u2028"})
    ledger.append({"key": "b"}, synced=False)
    ledger.append({"key": "a", "text": "later"})
    assert ledger.get("a") == {"key": "a", "text": "é\n\u2028"}
    assert ledger.get("c") is None
    assert ("b" in ledger, "c" in ledger, len(ledger)) == (True, False, 2)
    assert [line["key"] for line in Ledger(ledger.path)] == ["a", "b", "a"]


@settings(max_examples=25)
@given(cut=st.integers(0, 200))
def test_a_file_cut_anywhere_keeps_its_whole_lines(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "l.jsonl"
    lines = [json.dumps({"key": str(k), "value": "x" * k}) + "\n" for k in range(6)]
    content = "".join(lines).encode()[:cut]
    path.write_bytes(content)
    whole = content.count(b"\n")
    ledger = Ledger(path)
    assert len(ledger) == whole
    ledger.append({"key": "new"})
    ledger.close()
    assert path.read_bytes() == b"".join(line.encode() for line in lines[:whole]) + b'{"key": "new"}\n'


@pytest.mark.parametrize("damage", ["nonsense", "{}", "[1]", '{"key": 3}', "\0\0\0"])
def test_damage_in_the_middle_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    path.write_text('{"key": "a"}\n' + damage + '\n{"key": "b"}\n')
    with pytest.raises(RecordError, match="line 2"):
        Ledger(path)


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be opened"):
        Ledger(tmp_path)
