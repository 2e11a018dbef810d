"""Things of a name are told apart, rivals at one place are not both believed."""

import pytest
import torch
from tests.models.mini.test_heat import TABLE

from segue.models.mini.find import BEYOND_DOUBT, FAINTEST, Maps, find, joined_heat, things
from segue.models.mini.findings import MOST_FINDINGS
from segue.models.mini.names import table_of
from segue.models.mini.readout import cell_places

GRID = 20
ROWS = {name: row for row, name in enumerate(TABLE.names)}


def blob(y, x, spread=1.5):
    steps = torch.arange(GRID) + 0.5
    return torch.outer(
        torch.exp(-(((steps - y * GRID) / spread) ** 2)), torch.exp(-(((steps - x * GRID) / spread) ** 2))
    )


def maps_of(heats, centres, presence, area=0.04, inside=(200, 200)):
    heat, present = torch.zeros(len(ROWS), GRID, GRID), torch.zeros(len(ROWS))
    for name, value in heats.items():
        heat[ROWS[name]] = value / value.max()
    for name, value in presence.items():
        present[ROWS[name]] = value
    places = cell_places(torch.tensor([inside]), GRID, 200)[0]
    log_areas = torch.full((2, GRID, GRID), area).log()
    return Maps(heat, present, torch.stack([centres, torch.zeros(GRID, GRID)]), log_areas, places)


def test_two_dogs_are_two_findings():
    both = torch.maximum(blob(0.5, 0.2, 3), blob(0.5, 0.8, 3))
    peaks = torch.maximum(blob(0.5, 0.2), 0.8 * blob(0.5, 0.8))
    found = find(maps_of({"dog": both}, peaks, {"dog": 0.9}), TABLE)
    assert [f.name for f in found] == ["dog", "dog"]
    assert [round(f.centre_yx[1], 1) for f in found] == [0.2, 0.8]
    assert found[0].presence == pytest.approx(0.9)
    assert found[1].presence < 0.9
    assert found[0].area == pytest.approx(0.04)


def test_one_large_dog_with_two_humps_is_one():
    humps = torch.maximum(blob(0.5, 0.42), blob(0.5, 0.58))
    maps = maps_of(
        {"dog": humps}, torch.maximum(blob(0.5, 0.42), 0.9 * blob(0.5, 0.58)), {"dog": 0.9}, area=0.3
    )
    assert len(things(maps, ROWS["dog"], 0)) == 1


def test_a_rival_at_the_same_place_is_believed_less():
    here, there = blob(0.5, 0.3), blob(0.5, 0.8)
    both = maps_of({"dog": here, "cat": here}, here, {"dog": 0.9, "cat": 0.5})
    apart = maps_of({"dog": here, "cat": there}, torch.maximum(here, there), {"dog": 0.9, "cat": 0.5})
    presences = {f.name: f.presence for f in find(both, TABLE)}
    assert presences["dog"] == pytest.approx(0.9)
    assert presences["cat"] < 0.25
    assert {f.name: f.presence for f in find(apart, TABLE)}["cat"] == pytest.approx(0.5)
    kin = maps_of({"bird": here, "owl": here}, here, {"bird": 0.9, "owl": 0.5})
    assert {f.name: f.presence for f in find(kin, TABLE)}["owl"] == pytest.approx(0.5)


def test_parts_of_one_thing_leave_each_other_alone():
    table = table_of(
        {
            "names": [
                {"name": name, "whole": whole, "part": name.split()[1], "trained": True}
                for name, whole in (("dog head", "dog"), ("dog leg", "dog"), ("cat head", "cat"))
            ],
            "purposes": {},
        }
    )
    here = blob(0.5, 0.3)
    heat = (here / here.max()).expand(3, -1, -1)
    areas, places = torch.full((2, GRID, GRID), 0.04), cell_places(torch.tensor([[200, 200]]), GRID, 200)[0]
    maps = Maps(heat, torch.tensor([0.9, 0.6, 0.6]), here.expand(2, -1, -1), areas.log(), places)
    found = {f.name: f.presence for f in find(maps, table)}
    assert found["dog leg"] > 0.5
    assert found["cat head"] < 0.3


def test_nothing_speaks_against_what_is_beyond_doubt():
    here = blob(0.5, 0.3)
    sure = maps_of({"dog": here, "cat": here}, here, {"dog": 0.99, "cat": BEYOND_DOUBT + 0.01})
    assert {f.name: f.presence for f in find(sure, TABLE)}["cat"] == pytest.approx(BEYOND_DOUBT + 0.01)


def test_what_is_absent_or_beside_the_picture_is_not_found():
    heat = blob(0.8, 0.5)
    assert find(maps_of({"dog": heat}, heat, {"dog": FAINTEST / 2}), TABLE) == []
    assert find(maps_of({"dog": heat}, heat, {"dog": 0.9}, inside=(100, 200)), TABLE) == []


def test_at_most_so_many_and_always_the_same():
    spots = [blob(y / 6 + 0.1, x / 6 + 0.1, 0.7) for y in range(5) for x in range(5)]
    field = torch.stack(spots).amax(0)
    maps = maps_of(dict.fromkeys(ROWS, field), field, dict.fromkeys(ROWS, 0.9), area=0.001)
    found = find(maps, TABLE)
    assert len(found) == MOST_FINDINGS
    assert found == find(maps, TABLE)
    assert [f.presence for f in found] == sorted((f.presence for f in found), reverse=True)


def test_heat_follows_the_source_with_evidence():
    trained, folded = torch.zeros(2, 4, 4), torch.zeros(4, 2, 2)
    trained[0, 0, 0], folded[0, 1, 1] = 0.5, 0.5
    evidence = torch.zeros(5, 2)
    evidence[0] = torch.tensor([3.0, 0.5])
    heat = joined_heat(trained, folded, evidence, TABLE)
    assert float(heat[0, 0, 0]) == 1.0
    assert 0.1 < float(heat[0, 3, 3]) < 0.3


def test_a_coat_lies_on_a_torso():
    worn = {"broader": ["clothing"], "trained": True}
    names = [{"name": "coat", **worn}, {"name": "dress", **worn}]
    names += [{"name": "person torso", "whole": "person", "part": "torso", "trained": True}]
    table = table_of({"names": names, "purposes": {}})
    here, presences = blob(0.5, 0.3), {}
    for other, row in (("dress", 1), ("person torso", 2)):
        heat, presence = torch.zeros(3, GRID, GRID), torch.tensor([0.6, 0.0, 0.0])
        heat[[0, row]], presence[row] = here, 0.95
        places = cell_places(torch.tensor([(200, 200)]), GRID, 200)[0]
        maps = Maps(heat, presence, torch.stack([here, here]), torch.full((2, GRID, GRID), -3.0), places)
        presences[other] = {f.name: f.presence for f in find(maps, table)}["coat"]
    assert presences["person torso"] == pytest.approx(0.6)
    assert presences["dress"] < 0.3, "a coat and a dress at one place are rivals"


def test_the_trunk_has_let_its_names_compete_already():
    here = blob(0.5, 0.3)
    found = find(maps_of({"cat": here, "bird": here}, here, {"cat": 0.9, "bird": 0.7}), TABLE)
    assert {f.name: f.presence for f in found}["bird"] == pytest.approx(0.7 * (1 - 0.2 * 0.9))
