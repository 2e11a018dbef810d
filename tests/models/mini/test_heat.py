"""Heat of a name stands out against its rivals; what may both be right does not compete."""

import torch

from segue.models.mini.heat import (
    LOUDEST_OTHER,
    HeatPrompts,
    are_kin,
    fold_kinds,
    fold_matrix,
    heat_pair,
    is_part,
    rivals,
)
from segue.models.mini.names import name_table, table_of

TABLE = table_of(
    {
        "names": [
            {"name": "dog", "kinds": "1-2", "broader": ["animal"], "trained": True},
            {"name": "cat", "kinds": "5", "broader": ["animal"]},
            {"name": "bird", "kinds": "7", "broader": ["animal"]},
            {"name": "owl", "kinds": "8", "broader": ["animal", "bird"]},
            {"name": "dog head", "whole": "dog", "part": "head", "trained": True},
        ],
        "purposes": {},
    }
)


def test_kinds_are_summed():
    kinds = torch.zeros(1, 1000, 1, 1)
    kinds[0, [1, 2, 5]] = torch.tensor([0.25, 0.5, 0.125])[:, None, None]
    folded = fold_kinds(kinds, fold_matrix(TABLE))
    assert folded[0, :, 0, 0].tolist() == [0.75, 0.125, 0.0, 0.0]


def test_parts_wholes_and_broader_kinds_do_not_compete():
    names = TABLE.names
    assert is_part(names["dog head"])
    assert are_kin(names["dog"], names["dog head"])
    assert are_kin(names["owl"], names["bird"])
    assert not are_kin(names["dog"], names["cat"])
    assert is_part(name_table().names["shoes"])
    assert rivals(TABLE, ["dog", "cat", "owl", "bird"])[2].tolist() == [True, True, False, False]
    assert are_kin(name_table().names["coffee"], name_table().names["cup"])
    some = list(name_table().names)[::7]
    kin = [[are_kin(name_table().names[a], name_table().names[b]) for b in some] for a in some]
    assert torch.equal(rivals(name_table(), some), ~torch.tensor(kin))


def test_a_pair_is_over_the_names_own_maximum():
    heats = torch.tensor([[[0.1, 0.2]], [[0.1, 0.0]], [[0.8, 0.8]]])
    pair = heat_pair(heats, 0, torch.tensor([False, True, False]))
    assert pair[0, 0].tolist() == [0.5, 1.0]
    assert pair[1, 0].tolist() == [0.5, 0.0], "what is no rival does not speak"
    loud = heat_pair(heats, 0, torch.tensor([False, True, True]))
    assert float(loud[1].max()) == LOUDEST_OTHER
    nothing = heat_pair(torch.full((1, 1, 2), 1e-6), 0, torch.tensor([False]))
    assert float(nothing.max()) < 0.01, "nothing is not blown up"


def test_the_source_with_more_evidence_counts_more():
    prompts = HeatPrompts(TABLE)
    trained, folded = torch.zeros(2, 1, 2), torch.zeros(4, 1, 2)
    trained[0, 0], folded[0, 0] = torch.tensor([0.5, 0.0]), torch.tensor([0.0, 0.5])
    evidence = torch.zeros(5, 2)
    evidence[0] = torch.tensor([3.0, 1.0])
    left = prompts("dog", trained, folded, evidence)[0, 0]
    assert torch.allclose(left, torch.tensor([1.0, 1 / 3]), atol=1e-2)
    evidence[0] = torch.tensor([0.0, 3.0])
    right = prompts("dog", trained, folded, evidence)[0, 0]
    assert right[0] < 0.01 < right[1] == 1.0
