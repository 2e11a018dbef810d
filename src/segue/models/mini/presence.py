"""Whether a picture shows a name: two scores, made comparable, joined to one probability.

Raw scores of different names cannot be compared (118 kinds are dogs, one is an umbrella). A score counts by
how few photographs that lack the name reach it: its tail is -log10 of their share, 2 for one in a hundred.
Tails of the trunk and of the readout are then weighed together, with the same weights for all names of a
group.

Legend: N pictures, M names of one source, A all names, L levels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segue.models.mini.names import NameTable

TAILS = tuple(0.25 * step for step in range(15))
"""Tails at which quantiles are kept; 3.5 is one in three thousand."""

BEYOND = 1.5
"""Scores that no photograph without the name reached go on along the last slope, at most so far."""

GROUPS = ("trained", "both", "folded", "few")
"""By what is known of a name: readout alone, both sources, trunk alone, a readout with few examples. Names of
own data have a group of their own for each branch."""

TAUGHT = (2.0, 0.0, -6.0)
"""Weights with which a branch's group starts: with `taught_quantiles` the logit is the readout's own."""

LOUDEST_FOLDED, LOUDEST_TRAINED = 3, 4
"""Cells (of strides 32 and 8) that answer for a picture."""


def loudest(maps: Tensor, inside: Tensor, count: int) -> Tensor:
    """`[N, M, h, w]` to `[N, M]`: mean of the `count` highest cells of the picture.

    Args:
        inside: `[N, h, w]` bool, cells that lie in the picture.
    """
    low = torch.finfo(maps.dtype).min
    cells = maps.masked_fill(~inside[:, None], low).flatten(2)
    count = min(count, int(inside.flatten(1).sum(1).min()))
    return cells.topk(max(count, 1), dim=2).values.mean(2)


def quantiles(scores: Tensor, lacking: Tensor) -> Tensor:
    """Scores at `TAILS` among the photographs that lack each name.

    Args:
        scores: `[N, M]`; lacking: `[N, M]` bool, at least one photograph for each name.

    Returns:
        `[M, L]`, rising.
    """
    levels = 1 - 10 ** -torch.tensor(TAILS, dtype=torch.float64)
    found = [
        torch.quantile(scores[lacking[:, column], column].double(), levels)
        for column in range(scores.shape[1])
    ]
    return torch.stack(found).float()


def taught_quantiles(count: int) -> Tensor:
    """Levels `[count, L]` by which tails of names of own data are a straight line from their logits.

    Own data are too few for quantiles: a tail is (logit + 6) / 2, 0 to 5, and what it is worth is fitted.
    """
    return (2 * torch.tensor(TAILS) - 6.0).repeat(count, 1)


def tails(scores: Tensor, at: Tensor) -> Tensor:
    """Scores `[N, M]` to their tails `[N, M]`, given the quantiles `[M, L]`."""
    steps = torch.tensor(TAILS, device=scores.device)
    low = torch.searchsorted(at.contiguous(), scores.T.contiguous()).T.clamp(1, len(TAILS) - 1) - 1  # (N, M)
    columns = torch.arange(at.shape[0], device=scores.device).expand_as(low)
    start, end = at[columns, low], at[columns, low + 1]
    share = (scores - start) / (end - start).clamp(min=1e-6)
    return (steps[low] + share * (TAILS[1] - TAILS[0])).clamp(0, TAILS[-1] + BEYOND)


class Presence(nn.Module):
    """Calibrated presence of all names; what it knows are statistics, kept with the weights.

    Args:
        table: names; the order of scores is that of `NameTable.trained` and `NameTable.folded`.
        few: trained names with too few examples to trust the readout as the others.

    Source: paper silent; ours.
    """

    trained_at: Tensor
    folded_at: Tensor
    group: Tensor
    weights: Tensor

    def __init__(self, table: NameTable) -> None:
        super().__init__()
        trained, folded = table.trained(), table.folded()
        names = list(table.names)
        self.register_buffer("trained_at", torch.zeros(len(trained), len(TAILS)))
        self.register_buffer("folded_at", torch.zeros(len(folded), len(TAILS)))
        self.register_buffer("group", torch.zeros(len(names), dtype=torch.long))
        # Weight of the readout's tail, of the trunk's, and the constant.
        weights = torch.tensor([[2.0, 2.0, -5.0]] * len(GROUPS) + [list(TAUGHT)] * len(table.branches))
        self.register_buffer("weights", weights)
        self.trained_rows = [names.index(name) for name in trained]
        self.folded_rows = [names.index(name) for name in folded]
        self.num_names = len(names)

    def evidence(self, trained: Tensor, folded: Tensor) -> Tensor:
        """Scores `[N, T]` and `[N, F]` to tails of both sources `[N, A, 2]`; 0 where a source is silent."""
        found = trained.new_zeros(len(trained), self.num_names, 2)
        found[:, self.trained_rows, 0] = tails(trained, self.trained_at)
        found[:, self.folded_rows, 1] = tails(folded, self.folded_at)
        return found

    def forward(self, evidence: Tensor) -> Tensor:
        """`[N, A, 2]` to logits of presence `[N, A]`."""
        weights = self.weights[self.group]  # (A, 3)
        return (evidence * weights[:, :2]).sum(2) + weights[:, 2]
