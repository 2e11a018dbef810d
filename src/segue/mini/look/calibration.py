"""Presence is calibrated: quantiles of photographs that lack a name, and the weights of both sources.

Photographs that the readout learned from would flatter it, so its part is fitted on others.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from segue.models.mini.eyes import Eyes
from segue.models.mini.presence import GROUPS, quantiles

RARER = -2.5
"""Log odds by which a name that only the trunk knows is taken to be rarer than those of `everyday`, which it
is weighed on: nearly five hundred of them would else fill the findings."""

MANY = 60
"""Examples from which on the readout is trusted with a name."""


def fit_quantiles(
    eyes: Eyes,
    folded_scores: Tensor,
    folded_lacking: Tensor,
    trained_scores: Tensor,
    trained_lacking: Tensor,
) -> None:
    """Set the quantiles of both sources; see `segue.models.mini.presence.quantiles`.

    Args:
        eyes: changed in place.
        folded_scores: `[P, F]` over any photographs, the trunk having learned from none.
        trained_scores: `[Q, T]` over photographs that the readout did not learn from.
    """
    eyes.presence.folded_at.copy_(quantiles(folded_scores, folded_lacking))
    eyes.presence.trained_at.copy_(quantiles(trained_scores, trained_lacking))


def set_groups(eyes: Eyes, examples: dict[str, int]) -> None:
    """Which group's weights each name has."""
    for row, name in enumerate(eyes.table.names.values()):
        if not name.trained:
            group = "folded"
        elif examples.get(name.name, 0) < MANY:
            group = "folded" if name.kinds else "few"
        else:
            group = "both" if name.kinds else "trained"
        eyes.presence.group[row] = GROUPS.index(group)


def fit_weights(eyes: Eyes, evidence: Tensor, presence: Tensor, *, steps: int = 200) -> dict[str, int]:
    """Logistic weights of each group on photographs whose presences are known.

    The group of names that only the trunk knows is fitted on names of the other groups as if the readout
    were silent, because few of its own are annotated anywhere, and then made rarer by `RARER`.

    Args:
        evidence: `[Q, A, 2]`; presence: `[Q, A]` 1, 0 or -1 for unknown.

    Returns:
        How many presences each group was fitted on.
    """
    counts = {}
    group = eyes.presence.group
    for number, name in enumerate(GROUPS):
        if name == "folded":
            columns = group == GROUPS.index("both")
            seen = evidence[:, columns].clone()
            seen[..., 0] = 0.0
        else:
            columns = group == number
            seen = evidence[:, columns]
        truth = presence[:, columns]
        known = truth >= 0
        counts[name] = int(known.sum())
        weights = _logistic(seen[known], truth[known], eyes.presence.weights[number], steps)
        if name == "folded":
            weights[0], weights[2] = weights[1], weights[2] + RARER
        eyes.presence.weights[number] = weights
    return counts


def _logistic(evidence: Tensor, truth: Tensor, start: Tensor, steps: int) -> Tensor:
    weights = start.detach().clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS([weights], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        logits = evidence @ weights[:2] + weights[2]
        loss = F.binary_cross_entropy_with_logits(logits, truth) + 1e-4 * (weights**2).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    fitted = weights.detach()
    return torch.cat([fitted[:2].clamp(min=0.0), fitted[2:]])


def known_presence(
    shown: Sequence[frozenset[str]], known: Sequence[frozenset[str]], names: Sequence[str]
) -> Tensor:
    """`[Q, names]`: 1 shown, 0 known to lack, -1 unknown."""
    rows = []
    for there, sure in zip(shown, known, strict=True):
        rows.append([1.0 if name in there else (0.0 if name in sure else -1.0) for name in names])
    return torch.tensor(rows)
