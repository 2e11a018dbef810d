"""Presence is calibrated: quantiles of photographs that lack a name, and the weights of both sources.

Photographs that the readout learned from would flatter it, so its part is fitted on those held back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segue.mini.look.features import features_of
from segue.mini.look.objective import HELD_BACK, Shelf
from segue.mini.look.photographs import Photograph, known_names
from segue.mini.look.targets import CELLS
from segue.models.mini.eyes import Eyes, cell_scores, coarse_inside
from segue.models.mini.names import NameTable
from segue.models.mini.picture import SIDE
from segue.models.mini.presence import GROUPS, LOUDEST_FOLDED, loudest, quantiles
from segue.models.mini.readout import cell_places

ASKED = 1.7
"""Log odds by which a name is likelier in a photograph about which somebody asks than in one taken at random.
On photographs held back names are found / wrongly found 0.907 / 0.0064 of the time; with 2.0 it is 0.915 /
0.0082, and of things that two photographs lack more are claimed."""

RARER = -3.7
"""Log odds by which a name that only the trunk knows is taken to be rarer than those of `everyday`, which it
is weighed on: nearly five hundred of them would else fill the findings."""

MANY = 60
"""Examples from which on the readout is trusted with a name."""

UNKNOWN = -1.0
_BATCH = 8


@torch.no_grad()
def calibrate(eyes: Eyes, shelves: Sequence[Shelf], held_back: int = HELD_BACK) -> dict[str, int]:
    """Set all that `Presence` knows.

    Args:
        eyes: changed in place.
        shelves: those of `LookObjective`; every `held_back`-th photograph was not learned from.

    Returns:
        How many presences each group of names was weighed on.
    """
    table = eyes.table
    everyone = [photograph for shelf in shelves for photograph in shelf.photographs]
    folded = torch.cat([folded_scores(shelf) for shelf in shelves])
    lacking = torch.tensor([[n not in p.shown() for n in table.folded()] for p in everyone])
    held = [list(range(0, len(shelf.photographs), held_back)) for shelf in shelves]
    scores = [both_scores(eyes, shelf, rows) for shelf, rows in zip(shelves, held, strict=True)]
    trained, same = (torch.cat(parts) for parts in zip(*scores, strict=True))
    apart = [shelf.photographs[row] for shelf, rows in zip(shelves, held, strict=True) for row in rows]
    presence = known_presence(apart, table)
    rows = [list(table.names).index(name) for name in table.trained()]
    eyes.presence.folded_at.copy_(quantiles(folded, lacking))
    eyes.presence.trained_at.copy_(quantiles(trained, _some(presence[:, rows] == 0)))
    set_groups(eyes, Counter(r.name for photograph in everyone for r in photograph.regions))
    return fit_weights(eyes, eyes.presence.evidence(trained, same), presence)


def _some(lacking: Tensor) -> Tensor:
    """A name that every held-back photograph shows is compared with all of them."""
    return lacking | ~lacking.any(0)


def folded_scores(shelf: Shelf) -> Tensor:
    """Scores of the trunk alone, `[P, F]`, for all photographs of a shelf."""
    features = shelf.features
    found = []
    for start in range(0, len(features), 8 * _BATCH):
        rows = slice(start, start + 8 * _BATCH)
        maps = torch.from_numpy(np.array(features.folded[rows])).float()
        places = cell_places(torch.from_numpy(np.array(features.inside[rows])), CELLS, SIDE)
        found.append(loudest(maps, coarse_inside(places, maps.shape[-1]), LOUDEST_FOLDED))
    return torch.cat(found)


def both_scores(eyes: Eyes, shelf: Shelf, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Scores of both sources, `[Q, T]` and `[Q, F]`, for some photographs of a shelf."""
    trained, folded = [], []
    for start in range(0, len(rows), _BATCH):
        some = list(rows[start : start + _BATCH])
        batch = features_of(shelf.features, some, [False] * len(some))
        readings = eyes.read(batch["stride8"], batch["stride16"], batch["stride32"])
        inside = torch.from_numpy(np.array(shelf.features.inside[some]))
        scores = cell_scores(readings.names, batch["folded"], cell_places(inside, CELLS, SIDE))
        trained.append(scores[0])
        folded.append(scores[1])
    return torch.cat(trained), torch.cat(folded)


def known_presence(photographs: Sequence[Photograph], table: NameTable) -> Tensor:
    """`[Q, A]`: 1 shown, 0 known to lack, `UNKNOWN`."""
    rows = []
    for photograph in photographs:
        shown, known = photograph.shown(), known_names(photograph, table)
        rows.append([1.0 if n in shown else (0.0 if n in known else UNKNOWN) for n in table.names])
    return torch.tensor(rows)


def set_groups(eyes: Eyes, examples: Mapping[str, int]) -> None:
    """Which group's weights each name has."""
    for row, name in enumerate(eyes.table.names.values()):
        if not name.trained:
            group = "folded"
        elif examples.get(name.name, 0) < MANY:
            group = "folded" if name.kinds else "few"
        else:
            group = "both" if name.kinds else "trained"
        eyes.presence.group[row] = GROUPS.index(group)


def fit_weights(eyes: Eyes, evidence: Tensor, presence: Tensor) -> dict[str, int]:
    """Logistic weights of each group on photographs whose presences are known.

    The group of names that only the trunk knows is fitted on the names of both sources as if the readout
    were silent, because few of its own are annotated anywhere, and then made rarer by `RARER`.

    Args:
        evidence: `[Q, A, 2]`; presence: `[Q, A]` 1, 0 or `UNKNOWN`.

    Returns:
        How many presences each group was fitted on.
    """
    counts = {}
    for number, name in enumerate(GROUPS):
        borrowed = name == "folded"
        columns = eyes.presence.group == (GROUPS.index("both") if borrowed else number)
        seen, truth = evidence[:, columns].clone(), presence[:, columns]
        if borrowed:
            seen[..., 0] = 0.0
        known = truth >= 0
        counts[name] = int(known.sum())
        if not bool((truth[known] == 1).any()):
            continue  # nothing to learn from: the weights stay as they start
        weights = logistic(seen[known], truth[known])
        if borrowed:
            weights = torch.stack([torch.zeros(()), weights[1], weights[2] + RARER])
        weights[2] += ASKED
        eyes.presence.weights[number] = weights
    return counts


def logistic(evidence: Tensor, truth: Tensor, steps: int = 200) -> Tensor:
    """Weights of two tails and a constant, `[3]`; a tail never speaks against a name."""
    weights = torch.tensor([1.0, 1.0, -3.0], requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        logits = evidence @ weights[:2] + weights[2]
        loss = F.binary_cross_entropy_with_logits(logits, truth) + 1e-4 * (weights**2).sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
    fitted = weights.detach()
    return torch.cat([fitted[:2].clamp(min=0.0), fitted[2:]])
