"""The seeing half of the embedded model in one module: what is learned over the frozen trunk.

Legend: N pictures, T trained names, F folded names, A all names, g cells at stride 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from segue.models.mini.find import Maps, find, joined_heat
from segue.models.mini.findings import Finding
from segue.models.mini.heat import HeatPrompts
from segue.models.mini.heat_decoder import PROMPT_WIDTH, HeatDecoder
from segue.models.mini.names import NameTable
from segue.models.mini.presence import LOUDEST_FOLDED, LOUDEST_TRAINED, Presence, loudest
from segue.models.mini.readout import Readings, Readout


@dataclass(frozen=True)
class Sight:
    """All that was seen in N pictures.

    Attributes:
        readings: of the readout.
        folded: `[N, F, h, w]` probabilities of the folded names at stride 32.
        places: `[N, 2, g, g]` of `cell_places`.
        evidence: `[N, A, 2]` tails of the readout and of the trunk (see `Presence`).
        presence: `[N, A]` calibrated probabilities.
    """

    readings: Readings
    folded: Tensor
    places: Tensor
    evidence: Tensor
    presence: Tensor


class Eyes(nn.Module):
    """Readout, presence and mask decoder; the trunk comes with its package and is not part of the weights.

    Args:
        table: names.

    Source: paper silent; ours.
    """

    prompt_width = PROMPT_WIDTH

    def __init__(self, table: NameTable) -> None:
        super().__init__()
        self.table = table
        self.prompts = HeatPrompts(table)
        self.readout = Readout(len(table.trained()))
        self.presence = Presence(table)
        self.decoder = HeatDecoder()

    def judge(self, readings: Readings, folded: Tensor, places: Tensor) -> Sight:
        """What both sources say of N pictures, weighed together."""
        evidence = self.presence.evidence(*cell_scores(readings.names, folded, places))
        return Sight(readings, folded, places, evidence, self.presence(evidence).sigmoid())

    def find(self, sight: Sight) -> list[list[Finding]]:
        """Findings of each picture, the surest first."""
        return [find(self.maps(sight, row), self.table) for row in range(len(sight.presence))]

    def maps(self, sight: Sight, row: int) -> Maps:
        """What the findings of one picture are read from."""
        readings, evidence = sight.readings, sight.evidence[row]
        return Maps(
            joined_heat(readings.names[row].sigmoid(), sight.folded[row], evidence, self.table),
            sight.presence[row],
            readings.centres[row].sigmoid(),
            readings.log_areas[row],
            sight.places[row],
        )

    def heat_prompt(self, name: str, sight: Sight, row: int) -> Tensor:
        """The dense prompt of a name in one picture, `[2, g, g]`."""
        names = sight.readings.names[row]
        folded = F.interpolate(sight.folded[row : row + 1], size=names.shape[-2:], mode="bilinear")[0]
        return self.prompts(name, names.sigmoid(), folded, sight.evidence[row])


def cell_scores(names: Tensor, folded: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of both sources, `[N, T]` and `[N, F]`, from the loudest cells inside each picture."""
    coarse = coarse_inside(places, folded.shape[-1])
    return loudest(names, places.amax(1) < 1, LOUDEST_TRAINED), loudest(folded, coarse, LOUDEST_FOLDED)


def coarse_inside(places: Tensor, grid: int) -> Tensor:
    """`[N, grid, grid]` coarse cells that lie in the picture, given the places of fine ones.

    A coarse cell lies inside where its first fine one does: the picture begins at the square's corner.
    """
    step = places.shape[-1] // grid
    return (places.amax(1) < 1)[:, ::step, ::step]
