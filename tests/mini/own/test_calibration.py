"""Presence of new names rests on photographs held back, and on the logits alone where those are few."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import segue
from segue.mini.look.features import store_features
from segue.mini.look.objective import Shelf
from segue.mini.own.calibration import fit, found_wholes
from segue.mini.own.names import names_of
from segue.mini.own.photographs import photographs_of
from segue.models.mini.presence import TAUGHT, tails, taught_quantiles
from segue.models.mini.trunk import load_trunk
from segue.training.finetune.skips import SkipJournal


def test_tails_of_new_names_are_a_line_from_their_logits() -> None:
    logits = torch.tensor([[-8.0, -6.0], [0.0, 3.0]])
    found = tails(logits, taught_quantiles(2))
    assert torch.allclose(found, torch.tensor([[0.0, 0.0], [3.0, 4.5]]))
    weights = torch.tensor(TAUGHT)
    assert torch.allclose(found[1] * weights[0] + weights[2], logits[1])


def test_logits_that_say_too_much_are_put_right() -> None:
    torch.manual_seed(0)
    truth = (torch.rand(4000) < 0.5).float()
    logits = 2 * truth - 1 + torch.randn(4000) + 2.5  # there at 3.5, not there at 1.5: 2.5 decides
    evidence = torch.stack([(logits + 6) / 2, torch.zeros(4000)], 1)
    weights = fit(evidence, truth)
    edge = -float(weights[2] / weights[0]) * 2 - 6
    assert edge == pytest.approx(2.5, abs=0.3)


def test_wholes_that_are_found_nearly_always_hold_their_parts(
    start: Path, source: Any, tmp_path: Path
) -> None:
    eyes: Any = segue.load(start, device="cpu").model.seeing.eyes
    photographs = photographs_of(source, names_of([source], eyes.table), SkipJournal(None))
    stored = store_features(load_trunk(), [p.path for p in photographs], tmp_path)
    shelves = [Shelf(photographs, stored, 1.0)]
    eyes.presence.weights[:, 2] = 20.0
    assert found_wholes(eyes, shelves, ("dog", "zorble", "cat")) == {"dog"}, "no picture shows a cat"
    eyes.presence.weights[:, 2] = -40.0
    assert not found_wholes(eyes, shelves, ("dog",))
