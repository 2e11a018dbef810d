"""Names to heat: where in a picture each name may be, from the trunk's own classifier and from the readout.

Legend: N pictures, F folded names (ImageNet's kinds), T trained names, h w cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segue.models.mini.names import NUM_KINDS, Name, NameTable

LOUDEST_OTHER = 1.5
"""Another name's heat counts up to this multiple of the wanted one's maximum."""

FAINTEST = 1e-3
"""A heat whose maximum is below this is not blown up to 1: there is nothing."""


VESSELS, FILLINGS = {"tableware", "kitchenware", "container"}, {"food", "drink"}
"""Broader kinds that are seen at one place."""


def fold_matrix(table: NameTable) -> Tensor:
    """`[F, 1000]`, 1 where a kind belongs to a name: probabilities of kinds times it are those of names."""
    matrix = torch.zeros(len(table.folded()), NUM_KINDS)
    for row, name in enumerate(table.folded()):
        matrix[row, list(table.names[name].kinds)] = 1.0
    return matrix


def fold_kinds(kinds: Tensor, matrix: Tensor) -> Tensor:
    """Probabilities `[N, 1000, h, w]` of kinds to `[N, F, h, w]` of folded names."""
    return torch.einsum("nkhw,fk->nfhw", kinds, matrix.to(kinds))


def is_part(name: Name) -> bool:
    """Whether a name is seen on something: parts, and what a person wears or carries.

    Such names lie upon their wholes, so they compete with each other and not with things.
    """
    return name.whole is not None or is_worn(name)


def is_worn(name: Name) -> bool:
    """Whether it is what a person wears or carries, and a readout knows it."""
    return name.whole is None and name.trained and ("clothing" in name.broader or name.name == "bag")


def are_kin(a: Name, b: Name) -> bool:
    """Whether both may be right of the same place.

    Part and whole, one the broader kind of the other, or a vessel and what is in it: coffee in a cup.
    """
    inside = (VESSELS & set(a.broader) and FILLINGS & set(b.broader)) or (
        FILLINGS & set(a.broader) and VESSELS & set(b.broader)
    )
    return (
        is_part(a) != is_part(b)
        or bool(inside)
        or a.name in (b.whole, *b.broader)
        or b.name in (a.whole, *a.broader)
        or a.name == b.name
    )


def rivals(table: NameTable, names: Sequence[str]) -> Tensor:
    """`[M, M]` bool for M names: which others speak against a name where they are hot (not `are_kin`)."""
    records = [table.names[name] for name in names]
    places = {name: place for place, name in enumerate(names)}
    # On the CPU also while a model is being filled from a file, when tensors have no numbers by default.
    parts = torch.tensor([is_part(record) for record in records], device="cpu")
    against = parts[:, None] == parts[None]
    against.fill_diagonal_(False)
    for place, record in enumerate(records):
        for other in (record.whole, *record.broader):
            if other in places:
                against[place, places[other]] = against[places[other], place] = False
    filled, fillings = (
        torch.tensor([bool(kinds & set(record.broader)) for record in records], device="cpu")
        for kinds in (VESSELS, FILLINGS)
    )
    return against & ~(filled[:, None] & fillings[None]) & ~(fillings[:, None] & filled[None])


def heat_pair(heats: Tensor, row: int, rivals_of_row: Tensor) -> Tensor:
    """The heat of a name, and the strongest of its rivals', as fractions of the name's own maximum.

    Args:
        heats: `[M, h, w]` of one source, 0..1.
        row: the wanted name.
        rivals_of_row: `[M]` bool.

    Returns:
        `[2, h, w]`.
    """
    own = heats[row]
    scale = own.amax().clamp(min=FAINTEST)
    others = heats[rivals_of_row]
    loudest = others.amax(0) if len(others) else torch.zeros_like(own)
    return torch.stack([own / scale, (loudest / scale).clamp(max=LOUDEST_OTHER)])


class HeatPrompts:
    """Dense prompts of names in one picture, from whichever source knows more.

    Args:
        table: names.

    Source: paper silent; ours.
    """

    def __init__(self, table: NameTable) -> None:
        self.rows = {name: row for row, name in enumerate(table.names)}
        self.trained, self.folded = table.trained(), table.folded()
        blocks = torch.tensor([table.block(name) for name in self.trained], device="cpu")
        # Each readout was trained against its own names; of others it does not say how hot they mean it.
        self.trained_rivals = rivals(table, self.trained) & (blocks[:, None] == blocks)
        self.folded_rivals = rivals(table, self.folded)

    def __call__(self, name: str, trained: Tensor, folded: Tensor, evidence: Tensor) -> Tensor:
        """The prompt of a name, `[2, g, g]`: its own heat and that of the strongest rival.

        Args:
            trained: `[T, g, g]` probabilities of the readout.
            folded: `[F, g, g]` of the trunk, on the same cells.
            evidence: `[A, 2]` tails of both sources (see `Presence`): how much each counts.
        """
        prompt = trained.new_zeros(2, *trained.shape[-2:])
        for side, (names, maps, against) in enumerate(
            ((self.trained, trained, self.trained_rivals), (self.folded, folded, self.folded_rivals))
        ):
            if name in names:
                column = names.index(name)
                weight = float(evidence[self.rows[name], side]) + 1e-3
                prompt = prompt + weight * heat_pair(maps, column, against[column])
        return prompt / prompt[0].amax().clamp(min=FAINTEST)
