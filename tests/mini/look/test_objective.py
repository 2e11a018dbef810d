"""What stage "look" asks masks with: points as they were drawn, or as the readout finds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segue.errors import InputError
from segue.mini.look.objective import LookObjective
from segue.mini.look.targets import CELLS, Target
from segue.models.mini.names import name_table
from segue.models.mini.picture import SIDE
from segue.models.mini.readout import Readings, cell_places
from segue.training.run import train

TABLE = name_table()
DOG = TABLE.shipped().index("dog")


def spots(*cells: tuple[int, int]) -> Readings:
    """A readout that sees dogs with their middles at cells (row, column), each a sixteenth of the picture."""
    names = torch.full((1, len(TABLE.shipped()), CELLS, CELLS), -8.0)
    centres = torch.full((1, 2, CELLS, CELLS), -8.0)
    for row, column in cells:
        names[0, DOG, row - 1 : row + 2, column - 1 : column + 2] = 3.0
        centres[0, 0, row, column] = 3.0
    areas = torch.full((1, 2, CELLS, CELLS), float(np.log(1 / 16)))
    return Readings(torch.zeros(1, 96, CELLS, CELLS), names, centres, areas)


def asked(wanted: tuple[float, float], name: str = "dog", find: bool = True) -> dict[str, Any]:
    return {
        "points": torch.tensor([[0.9, 0.9, 0.5]]),
        "centres_yx": torch.tensor([wanted]),
        "find": torch.tensor([find]),
        "mask_rows": torch.tensor([0]),
        "mask_names": [name],
        "places": cell_places(torch.tensor([[SIDE, SIDE]]), CELLS, SIDE),
    }


@pytest.mark.parametrize(
    ("wanted", "place"),
    [((0.2, 0.2), (10, 10)), ((0.45, 0.75), (26, 40))],
)
def test_of_several_found_things_the_nearest_is_asked_for(
    wanted: tuple[float, float], place: tuple[int, int]
) -> None:
    found = LookObjective([], TABLE).points(spots((10, 10), (26, 40)), asked(wanted))
    row, column = place
    assert found[0].tolist() == pytest.approx([(row + 0.5) / CELLS, (column + 0.5) / CELLS, 1 / 16])


@pytest.mark.parametrize(
    "batch", [asked((0.9, 0.2)), asked((0.2, 0.2), find=False), asked((0.2, 0.2), name="accordion")]
)
def test_points_stay_where_nothing_near_is_found(batch: dict[str, Any]) -> None:
    found = LookObjective([], TABLE).points(spots((10, 10)), batch)
    assert torch.equal(found, batch["points"])


def test_rare_names_are_drawn_more_often() -> None:
    objective = LookObjective([], TABLE, masks=1)
    objective.examples.update({"dog": 4000, "sofa": 15})
    none = np.zeros((4, 4), np.float32)
    targets = [(0, Target(name, none, none, (0.5, 0.5), 0.1, True)) for name in ("dog", "sofa")]
    rng = np.random.default_rng(0)
    drawn = [objective._chosen(targets, rng)[0][1].name for _ in range(200)]
    # The chances of the larger of u ** 7.95 and v ** 2 are 2 : 7.95.
    assert 140 < drawn.count("sofa") < 180


def test_weights_to_go_on_from_must_exist(photographs: Path, tmp_path: Path) -> None:
    recipe = Path(__file__).resolve().parents[3] / "recipes" / "mini_look.yaml"
    own = [{"path": f"{photographs}/{source}/train.json"} for source in ("everyday", "clothing", "objects")]
    import segue.mini.stages  # noqa: F401  registers the stage

    with pytest.raises(InputError, match=r"model\.init\.0\.folder"):
        train(recipe, tmp_path / "run", [f"data.own={json.dumps(own)}", "model.init=[{folder: /nowhere}]"])
