"""Lists of findings say what own photographs show, with doubts and mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from segue.mini.own.lists import OwnLists
from segue.mini.own.names import names_of
from segue.mini.own.photographs import photographs_of
from segue.models.mini.names import name_table
from segue.training.finetune.skips import SkipJournal


def test_findings_are_of_what_is_there_and_some_of_what_is_not(source: Any) -> None:
    own = names_of([source], name_table())
    lists = OwnLists(photographs_of(source, own, SkipJournal(None)), own.names)
    assert {name for name, _, _ in lists.true(0)} == {"zorble", "zorble left stripe", "zorble right stripe"}
    (_, middle, area) = next(t for t in lists.true(0) if t[0] == "zorble left stripe")
    assert middle == pytest.approx((0.5, 12.5 / 60), abs=0.02)
    assert area == pytest.approx(30 * 15 / 2400, abs=0.02)
    rng = np.random.default_rng(0)
    drawn = [lists.findings(0, rng) for _ in range(40)]
    assert all({t[0] for t in lists.true(0)} <= {f.name for f in found} for found in drawn)
    wrong = [f for found in drawn for f in found if f.name == "dog"]
    assert wrong, "what is not there is sometimes found"
    assert np.mean([f.presence > 0.5 for f in wrong]) < 0.5


def test_some_conversations_are_left_to_all_names(source: Any) -> None:
    own = names_of([source], name_table())
    lists = OwnLists(photographs_of(source, own, SkipJournal(None)), own.names)
    drawn = [lists(np.random.default_rng(k)) for k in range(60)]
    assert 15 < sum(found is None for found in drawn) < 45
    assert {len(found) for found in drawn if found is not None} == {1, 2, 3}
