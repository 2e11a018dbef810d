"""Findings of photographs in a file that the talking half reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from segue.errors import InputError
from segue.mini.look.tell import main
from segue.mini.talk.kinds import known_kinds
from segue.mini.talk.told_lists import ToldLists
from segue.models.mini.seeing import SeeingConfig, SeeingModel


def test_every_photograph_has_a_line_that_can_be_talked_about(photographs: Path, tmp_path: Path) -> None:
    SeeingModel(SeeingConfig()).save_pretrained(tmp_path / "model")
    sources = [str(photographs / name / "train.json") for name in ("everyday", "objects")]
    out = tmp_path / "told.jsonl"
    features = ["--features", str(tmp_path / "features")]
    main([str(tmp_path / "model"), *sources, *features, "--out", str(out)])
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["picture"] for line in lines][:1] == ["everyday/1.png"]
    assert len(lines) == 6
    assert ToldLists(out, known_kinds())(np.random.default_rng(0))


def test_another_source_is_refused(tmp_path: Path) -> None:
    SeeingModel(SeeingConfig()).save_pretrained(tmp_path / "model")
    given = [str(tmp_path / "model"), str(tmp_path / "zoo" / "train.json"), "--out", str(tmp_path / "x")]
    with pytest.raises(InputError, match="zoo"):
        main(given)
