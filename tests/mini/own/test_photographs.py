"""Own images as photographs: what they show, what they lack, and what cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segue.errors import InputError
from segue.mini.own.names import names_of
from segue.mini.own.photographs import annotated_sources, photographs_of, write_left_out
from segue.models.mini.names import name_table
from segue.training.finetune.skips import SkipJournal


def test_images_say_what_they_show_and_what_they_lack(source: Any) -> None:
    own = names_of([source], name_table())
    found = photographs_of(source, own, SkipJournal(None))
    assert [sorted(p.shown()) for p in found[::2]] == [
        ["zorble", "zorble left stripe", "zorble right stripe"],
        ["dog"],
    ]
    assert all(p.known == set(own.names) for p in found)
    assert all(region.single for p in found for region in p.regions)


def test_a_broken_image_is_skipped_and_written_down(source: Any, tmp_path: Path) -> None:
    source.images[1].path.write_bytes(b"no picture")
    journal = SkipJournal(tmp_path / "skipped.jsonl")
    found = photographs_of(source, names_of([source], name_table()), journal)
    assert len(found) == 3
    (line,) = (tmp_path / "skipped.jsonl").read_text().splitlines()
    assert json.loads(line)["path"] == str(source.images[1].path)


def test_texts_alone_are_refused_and_beside_names_left_out(source: Any, tmp_path: Path) -> None:
    texts = SimpleNamespace(root=tmp_path)
    with pytest.raises(InputError, match="which things have which names"):
        annotated_sources(SimpleNamespace(sources=[texts], shares=[1.0]))  # type: ignore[arg-type]
    both: Any = SimpleNamespace(sources=[texts, source], shares=[0.75, 0.25])
    kept, shares, others = annotated_sources(both)
    assert (kept, shares, others) == ([source], [1.0], [str(tmp_path)])
    own = names_of(kept, name_table())
    lines = write_left_out(tmp_path / "left_out.json", own, ["dog"], others)
    assert lines[0].startswith("learns 4 names: ")
    assert any(str(tmp_path) in line for line in lines)
    assert json.loads((tmp_path / "left_out.json").read_text())["known_before"] == ["dog"]
