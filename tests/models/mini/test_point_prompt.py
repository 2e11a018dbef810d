"""Point prompts: equally long, apart where findings are spelled apart, and read back to the nearest thing."""

from __future__ import annotations

import torch

from segue.models.mini.findings import CELLS
from segue.models.mini.point_prompt import nearest_thing, point_prompt

WIDTH = 128


def grid() -> torch.Tensor:
    middles = (torch.arange(CELLS) + 0.5) / CELLS
    return torch.cartesian_prod(middles, middles)


def test_all_prompts_are_equally_long() -> None:
    prompts = point_prompt(torch.rand(50, 2), torch.rand(50), WIDTH)
    assert prompts.shape == (50, WIDTH)
    torch.testing.assert_close(prompts.square().sum(1), torch.full((50,), WIDTH / 2))


def test_the_nearest_prompt_is_the_nearest_cell() -> None:
    centres = grid()
    candidates = point_prompt(centres, torch.full((len(centres),), 0.1), WIDTH)
    moved = centres + (torch.rand(centres.shape) - 0.5) * 0.9 / CELLS
    found = nearest_thing(point_prompt(moved, torch.full((len(centres),), 0.12), WIDTH), candidates)
    assert torch.equal(found, torch.arange(len(centres)))


def test_farther_things_have_farther_prompts() -> None:
    places = torch.stack([torch.full((CELLS,), 0.5), (torch.arange(CELLS) + 0.5) / CELLS], dim=1)
    prompts = point_prompt(places, torch.full((CELLS,), 0.1), WIDTH)
    distances = (prompts - prompts[0]).norm(dim=1)
    assert distances[0] == 0
    # Beyond half a picture fast waves may come back, slow ones do not: never nearer than one cell away.
    assert bool((distances[1:5].diff() > 0).all())
    assert bool((distances[2:] > distances[1]).all())


def test_size_tells_things_of_one_place_apart() -> None:
    centre = torch.full((3, 2), 0.5)
    candidates = point_prompt(centre, torch.tensor([0.005, 0.05, 0.5]), WIDTH)
    asked = point_prompt(centre + 0.02, torch.tensor([0.007, 0.04, 0.4]), WIDTH)
    assert nearest_thing(asked, candidates).tolist() == [0, 1, 2]
