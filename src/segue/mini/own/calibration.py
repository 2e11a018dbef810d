"""Presence of a branch's names: its readout's logits, put right on photographs held back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from segue.mini.look.calibration import UNKNOWN, both_scores, known_presence
from segue.mini.look.objective import Shelf
from segue.models.mini.eyes import Eyes
from segue.models.mini.presence import GROUPS, TAUGHT

LEAST_KNOWN = 12
"""Presences and absences, each, that are needed to put the logits right; with fewer they stay as they are."""

TRUST = 0.02
"""How strongly the weights are held where they start."""


NEARLY_ALL = 0.95
"""Share of the photographs that show a whole in which it must be found."""

MOST_LOOKED_AT = 100
"""Photographs, about, in which wholes are looked for."""


@dataclass(frozen=True)
class Held:
    """Photographs of a shelf that were not learned from.

    Attributes:
        rows: their places.
    """

    shelf: Shelf
    rows: list[int]


@torch.no_grad()
def found_wholes(eyes: Eyes, shelves: Sequence[Shelf], wholes: Sequence[str]) -> frozenset[str]:
    """Wholes that a model finds in nearly all photographs of own data that show them.

    Their parts are then believed only where the whole is: own data that are all cars cannot say that a dog
    has no bumper. Where it often overlooks a whole in these data, its parts stand alone.

    Args:
        eyes: before they learn.
        wholes: names; those that the eyes do not know are passed over.
    """
    rows = [list(range(0, len(s.photographs), max(len(s.photographs) // MOST_LOOKED_AT, 1))) for s in shelves]
    parts = zip(shelves, rows, strict=True)
    scores = [both_scores(eyes, shelf, some) for shelf, some in parts if some]
    evidence = eyes.presence.evidence(*(torch.cat(sides) for sides in zip(*scores, strict=True)))
    presence = eyes.presence(evidence).sigmoid()
    looked_at = [shelf.photographs[row] for shelf, some in zip(shelves, rows, strict=True) for row in some]
    names = list(eyes.table.names)
    found = []
    for whole in wholes:
        there = torch.tensor([whole in photograph.shown() for photograph in looked_at])
        if whole in names and bool(there.any()):
            share = float((presence[there, names.index(whole)] >= 0.5).float().mean())
            found += [whole] if share >= NEARLY_ALL else []
    return frozenset(found)


@torch.no_grad()
def calibrate_branch(eyes: Eyes, held: Sequence[Held]) -> dict[str, int]:
    """Set the weights of the last branch's group.

    Returns:
        On how many presences and absences they rest; none where there were too few.
    """
    table, number = eyes.table, len(eyes.table.branches) - 1
    columns = [list(table.names).index(name) for name in table.taught(number)]
    group = len(GROUPS) + number
    eyes.presence.weights[group] = torch.tensor(TAUGHT)
    parts = [part for part in held if part.rows]
    if not columns or not parts:
        return {"present": 0, "absent": 0}
    scores = [both_scores(eyes, part.shelf, part.rows) for part in parts]
    trained, folded = (torch.cat(sides) for sides in zip(*scores, strict=True))
    evidence = eyes.presence.evidence(trained, folded)[:, columns]
    photographs = [part.shelf.photographs[row] for part in parts for row in part.rows]
    truth = known_presence(photographs, table)[:, columns]
    known = truth != UNKNOWN
    counts = {"present": int((truth == 1).sum()), "absent": int((truth == 0).sum())}
    if min(counts.values()) < LEAST_KNOWN:
        return {"present": 0, "absent": 0}
    eyes.presence.weights[group] = fit(evidence[known], truth[known])
    return counts


def fit(evidence: Tensor, truth: Tensor, steps: int = 100) -> Tensor:
    """Weights of two tails and a constant, `[3]`, near those that they start with.

    Args:
        evidence: `[Q, 2]`; truth: `[Q]` 1 or 0.
    """
    start = torch.tensor(TAUGHT)
    weights = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([weights], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        logits = evidence @ weights[:2] + weights[2]
        loss = F.binary_cross_entropy_with_logits(logits, truth) + TRUST * ((weights - start) ** 2).sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
    fitted = weights.detach()
    # A tail never speaks against a name.
    return torch.cat([fitted[:2].clamp(min=0.0), fitted[2:]])
