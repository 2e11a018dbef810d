"""Scores of different names become comparable, and both sources are joined."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models.mini.test_heat import TABLE

from segue.models.mini.presence import BEYOND, GROUPS, TAILS, Presence, loudest, quantiles, tails


def test_a_tail_is_the_share_of_photographs_that_reach_a_score():
    scores = torch.rand(20_000, 2, generator=torch.Generator().manual_seed(0))
    scores[:, 1] *= 1e-3  # another name's scores are all low
    at = quantiles(scores, torch.ones_like(scores, dtype=torch.bool))
    found = tails(torch.tensor([[0.9, 0.9e-3], [0.99, 0.99e-3]]), at)
    assert torch.allclose(found, torch.tensor([[1.0, 1.0], [2.0, 2.0]]), atol=0.1)


def test_photographs_that_show_a_name_do_not_count():
    scores = torch.tensor([[0.1], [0.2], [0.9], [0.95]])
    lacking = torch.tensor([[True], [True], [False], [False]])
    assert float(quantiles(scores, lacking).max()) == pytest.approx(0.2, abs=1e-3)


LACKING = torch.randn(300, 1, generator=torch.Generator().manual_seed(1))
AT = quantiles(LACKING, torch.ones(300, 1) > 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=20))
def test_tails_rise_with_scores_and_end(values):
    scores = torch.tensor(np.sort(values), dtype=torch.float32)[:, None]
    found = tails(scores, AT)[:, 0]
    assert (found.diff() >= -1e-5).all()
    assert float(found.min()) >= 0
    assert float(found.max()) <= TAILS[-1] + BEYOND


def test_cells_beside_the_picture_do_not_answer():
    maps = torch.tensor([[[[1.0, 9.0], [3.0, 9.0]]]])
    inside = torch.tensor([[[True, False], [True, False]]])
    assert loudest(maps, inside, 1).tolist() == [[3.0]]
    assert loudest(maps, inside, 2).tolist() == [[2.0]]
    assert loudest(maps, inside, 5).tolist() == [[2.0]], "a sliver of a picture has fewer cells"


def test_each_group_weighs_its_sources():
    presence = Presence(TABLE)
    rising = torch.linspace(0, 1, len(TAILS))
    presence.trained_at.copy_(rising.expand_as(presence.trained_at))
    presence.folded_at.copy_(rising.expand_as(presence.folded_at))
    evidence = presence.evidence(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0, 0.0]]))
    assert evidence[0].tolist() == [[3.5, 0], [0, 3.5], [0, 0], [0, 0], [0, 0]]
    presence.weights[GROUPS.index("trained")] = torch.tensor([2.0, 1.0, -4.0])
    assert presence(evidence)[0].tolist() == [3.0, -0.5, -4.0, -4.0, -4.0]
