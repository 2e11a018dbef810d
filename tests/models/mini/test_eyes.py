"""Several readouts and decoders in one pair of eyes: who reads, who draws, and what is believed."""

from __future__ import annotations

import pytest
import torch

from segue.models.mini.eyes import Eyes
from segue.models.mini.names import name_table, with_branches
from segue.models.mini.readout import cell_places

PARTS = [
    {"name": "zorble"},
    {"name": "dog"},
    {"name": "car hood", "whole": "car", "part": "hood", "under": "car"},
]


@pytest.fixture(scope="module")
def eyes() -> Eyes:
    torch.manual_seed(0)
    made = Eyes(with_branches(name_table(), [PARTS])).eval()
    torch.nn.init.normal_(made.branches[0].readout.names.weight)
    return made


@pytest.fixture(scope="module")
def features() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    return torch.randn(2, 40, 52, 52), torch.randn(2, 112, 26, 26), torch.randn(2, 320, 13, 13)


@torch.no_grad()
def test_readings_of_all_readouts_are_joined(eyes: Eyes, features: tuple[torch.Tensor, ...]) -> None:
    joined = eyes.read(*features)
    own, first = eyes.taught[0].readout(*features), eyes.readout(*features)
    assert torch.equal(joined.cells, torch.cat([first.cells, own.cells], 1))
    assert torch.equal(joined.names[:, :-2], first.names)
    assert torch.equal(joined.names[:, -2:], own.names[:, [0, 2]]), "the dog is read as before"
    assert joined.centres.shape[1] == joined.log_areas.shape[1] == 4


@pytest.mark.parametrize(
    ("read", "moved", "to", "other"),
    [
        pytest.param("car hood", "car hood", "car", "zorble", id="a part only as far as its whole"),
        pytest.param("cat head", "cat", "cat head", "dog", id="an owner as far as its head"),
    ],
)
@torch.no_grad()
def test_presences_are_believed_together(
    read: str, moved: str, to: str, other: str, eyes: Eyes, features: tuple[torch.Tensor, ...]
) -> None:
    names = list(eyes.table.names)
    readings = eyes.read(*features)
    readings.names[:, eyes.table.trained().index(read)] = 9.0
    folded = torch.zeros(2, len(eyes.table.folded()), 13, 13)
    sight = eyes.judge(readings, folded, cell_places(torch.full((2, 2), 416), 52, 416))
    alone = eyes.presence(sight.evidence).sigmoid()
    less = names.index(to if read == moved else moved)
    assert (alone[:, names.index(read)] > alone[:, less]).all(), "else the test says nothing"
    assert torch.equal(sight.presence[:, names.index(moved)], alone[:, names.index(to)])
    kept = [names.index(to), names.index(other)]
    assert torch.equal(sight.presence[:, kept], alone[:, kept])


@torch.no_grad()
def test_masks_are_the_mean_of_their_decoders(eyes: Eyes, features: tuple[torch.Tensor, ...]) -> None:
    readings = eyes.read(*features)
    embeddings = eyes.image_embeddings(readings.cells, torch.randn(2, 3, 104, 104))
    places = cell_places(torch.full((2, 2), 416), 52, 416)
    given = (places, torch.randn(2, eyes.prompt_width), torch.rand(2, 2, 52, 52))
    first, own, both = (
        eyes.draw(readings.cells, embeddings, *given, [blocks] * 2) for blocks in ((0,), (1,), (0, 1))
    )
    assert not torch.allclose(first, own)
    assert torch.allclose(both, (first + own) / 2, atol=1e-5)
    mixed = eyes.draw(readings.cells, embeddings, *given, [(1,), (0, 1)])
    assert torch.allclose(mixed, torch.stack([own[0], both[1]]), atol=1e-4)
