"""The seeing half of the embedded model in one module: what is learned over the frozen trunk.

Legend: N pictures, K masks, T trained names, F folded names, A all names, B readouts, g cells at stride 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segue.models.mini.find import Maps, find, joined_heat
from segue.models.mini.findings import Finding
from segue.models.mini.heat import HeatPrompts
from segue.models.mini.heat_decoder import PROMPT_WIDTH, HeatDecoder
from segue.models.mini.names import NameTable
from segue.models.mini.presence import LOUDEST_FOLDED, LOUDEST_TRAINED, Presence, loudest
from segue.models.mini.readout import CELL_WIDTH, Readings, Readout

HEAD = "head"
"""A part that is nowhere without its whole. With this 0.916 of the names that photographs held back show are
told, in place of 0.908; wrong ones are 0.69 % of those that they lack, in place of 0.65."""


@dataclass(frozen=True)
class Sight:
    """All that was seen in N pictures.

    Attributes:
        readings: of the readout; with branches as `Eyes.read` joins them.
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


class Branch(nn.Module):
    """A readout and a mask decoder of their own for the names that own data bring.

    What the model knew before keeps its weights: a shared readout would forget what own data never show.

    Args:
        num_names: of its readout.

    Source: paper silent; ours.
    """

    prompt_width = PROMPT_WIDTH

    def __init__(self, num_names: int) -> None:
        super().__init__()
        self.readout = Readout(num_names)
        self.decoder = HeatDecoder()


class Eyes(nn.Module):
    """Readout, presence and mask decoder; the trunk comes with its package and is not part of the weights.

    Args:
        table: names; each of its branches has a readout and a decoder.

    Source: paper silent; ours.
    """

    prompt_width = PROMPT_WIDTH

    def __init__(self, table: NameTable) -> None:
        super().__init__()
        self.table = table
        self.prompts = HeatPrompts(table)
        self.readout = Readout(len(table.shipped()))
        self.presence = Presence(table)
        self.decoder = HeatDecoder()
        rows = {name: row for row, name in enumerate(table.names)}
        heads = [n for n in table.names.values() if n.trained and n.part == HEAD and n.whole in rows]
        self.heads = [(rows[head.name], rows[str(head.whole)]) for head in heads]
        self.under = [(rows[part], rows[whole]) for part, whole in table.under.items()]
        self.branches = nn.ModuleList(Branch(len(names)) for names in table.branches)

    @property
    def decoders(self) -> list[HeatDecoder]:
        """By `NameTable.block`."""
        return [self.decoder, *(branch.decoder for branch in self.taught)]

    @property
    def taught(self) -> list[Branch]:
        """The branches, by their order in the table."""
        return [cast(Branch, branch) for branch in self.branches]

    def read(self, stride8: Tensor, stride16: Tensor, stride32: Tensor) -> Readings:
        """The trunk's features to what all readouts say of them, one behind the other in the channels.

        Returns:
            `cells` `[N, 96 B, g, g]`, `names` `[N, T, g, g]` in the order of `NameTable.trained`, `centres`
            and `log_areas` `[N, 2 B, g, g]`.
        """
        said = [self.readout(stride8, stride16, stride32)]
        names = [said[0].names]
        for number, branch in enumerate(self.taught):
            said.append(branch.readout(stride8, stride16, stride32))
            taught, own = self.table.taught(number), self.table.branches[number]
            names.append(said[-1].names[:, [own.index(name) for name in taught]])
        cells, centres, log_areas = (
            torch.cat([getattr(s, part) for s in said], dim=1) for part in ("cells", "centres", "log_areas")
        )
        return Readings(cells, torch.cat(names, dim=1), centres, log_areas)

    def judge(self, readings: Readings, folded: Tensor, places: Tensor) -> Sight:
        """What both sources say of N pictures, weighed together."""
        evidence = self.presence.evidence(*cell_scores(readings.names, folded, places))
        presence = self.presence(evidence).sigmoid()
        if self.heads:
            # Where somebody's head is, that one is: else an answer marks the cat's head and denies the cat.
            heads, wholes = zip(*self.heads, strict=True)
            presence[:, wholes] = torch.maximum(presence[:, wholes], presence[:, heads])
        if self.under:
            parts, owners = zip(*self.under, strict=True)
            presence[:, parts] = torch.minimum(presence[:, parts], presence[:, owners])
        return Sight(readings, folded, places, evidence, presence)

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

    def image_embeddings(self, cells: Tensor, colours: Tensor) -> Tensor:
        """Joined cells and small pictures `[N, 3, 2g, 2g]` to all decoders' embeddings, `[N, C B, g, g]`."""
        parts = zip(self.decoders, cells.split(CELL_WIDTH, dim=1), strict=True)
        return torch.cat([decoder.image_embeddings(part, colours) for decoder, part in parts], dim=1)

    def draw(
        self,
        cells: Tensor,
        embeddings: Tensor,
        places: Tensor,
        sparse: Tensor,
        heat: Tensor,
        blocks: Sequence[tuple[int, ...]],
    ) -> Tensor:
        """Logits `[K, 4g, 4g]` of masks, each the mean over the decoders of its blocks.

        Args:
            cells, embeddings: `[K, 96 B, g, g]` and `[K, C B, g, g]`, of each mask's picture.
            places, sparse, heat: see `HeatDecoder`.
            blocks: `NameTable.drawn_by` of each mask's name.
        """
        drawn: list[list[Tensor]] = [[] for _ in blocks]
        for block in sorted({block for own in blocks for block in own}):
            rows = [row for row, own in enumerate(blocks) if block in own]
            logits, _ = self.decoders[block](
                cells.split(CELL_WIDTH, dim=1)[block][rows],
                embeddings.split(PROMPT_WIDTH, dim=1)[block][rows],
                places[rows],
                sparse[rows],
                heat[rows],
            )
            for row, mask in zip(rows, logits, strict=True):
                drawn[row].append(mask)
        return torch.stack([torch.stack(masks).mean(0) for masks in drawn])


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
