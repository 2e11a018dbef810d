"""Perception prior: each cell of the picture learns which queries speak of it; queries that win become
tokens.

Literal, 4 cells and 3 queries: scores 0.9 0.8 0.1 0.7 of query 0, 0.2 0.9 0.1 0.1 of query 1, nothing of
query 2. Query 0 wins cells 0 and 3, query 1 cell 1; cell 2 goes to the lower index among equals. The picture
has 4 pixel tokens, a separator and 2 object tokens, in the order of the queries.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segue.models.modeling_lisa import PatchProjection
from segue.models.omg_llava.configuration_omg_llava import PerceptionConfig
from segue.models.omg_llava.perception import Objects

COUNTED_OBJECTS = 30
"""Objects of a picture, where compute is counted without one. Source: ours; no figure is published."""


def cells_of(stage: Tensor, shuffle: int) -> Tensor:
    """The trunk's last map `[N, C, H, W]` in blocks, `[N, H*W / s**2, s**2 * C]`.

    Channels of a cell are ordered by row in the block, column in the block, channel; torch's
    `pixel_unshuffle` has the channel first.

    Source: OMG-LLaVA's code.
    """
    number, channels, height, width = stage.shape
    blocks = stage.reshape(number, channels, height // shuffle, shuffle, width // shuffle, shuffle)
    return blocks.permute(0, 2, 4, 3, 5, 1).reshape(number, -1, shuffle**2 * channels)


def shares(objects: Objects, size: int, side: int) -> Tensor:
    """How strongly each query speaks of each cell, `[N, Q, cells]` in 0..1.

    A query's mask counts half, and up to all with the score of its best class. Source: OMG-LLaVA's code,
    which makes masks of the picture's size and shrinks them without antialiasing: of each cell the mean of
    the four pixels in its middle, which alone are computed here.

    Args:
        objects: of N pictures.
        size: side of the picture in pixels.
        side: cells along it.
    """
    cell = size // side
    middles = torch.arange(side, device=objects.masks.device) * cell + cell // 2
    places = torch.stack([middles - 1, middles], dim=1).flatten().to(objects.masks.dtype)
    # Pixel i lies between -1 and 1 at the middle of its width.
    across = (places + 0.5) * 2 / size - 1
    grid = torch.stack(torch.meshgrid(across, across, indexing="ij")[::-1], dim=-1)
    seen = F.grid_sample(
        objects.masks, grid.expand(len(objects.masks), -1, -1, -1), align_corners=False, padding_mode="border"
    ).sigmoid()
    scores = objects.classes.softmax(-1)[..., :-1].amax(-1)
    return F.avg_pool2d((0.5 + 0.5 * scores)[..., None, None] * seen, 2).flatten(2)


def prior(shares: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """What cells learn of queries, and which queries win a cell.

    Args:
        shares: `[N, Q, cells]` of `shares`.
        queries: `[N, Q, D]`.

    Returns:
        `[N, cells, D]`, a mean of queries weighted by the softmax over them; and `[N, Q, cells]` bool.

    Source: OMG-LLaVA's paper (perception prior embedding) and code (no temperature).
    """
    mixed = torch.einsum("nqc,nqd->ncd", shares.softmax(1), queries)
    best = torch.zeros_like(shares, dtype=torch.bool).scatter(1, shares.argmax(1, keepdim=True), True)
    return mixed, best


class ObjectProjection(nn.Module):
    """Cells and queries into the language model's space.

    Source: OMG-LLaVA's code (`projector.model`).
    """

    def __init__(self, config: PerceptionConfig, text_width: int) -> None:
        super().__init__()
        cell = config.backbone_config.hidden_sizes[-1] * config.shuffle**2
        query = 2 * config.hidden_dim
        self.cells = PatchProjection(cell + query, text_width, 2)
        self.widen = nn.Linear(query, cell)
        self.queries = PatchProjection(cell, text_width, 2)
        self.separator = nn.Embedding(1, text_width)

    def objects(self, queries: Tensor) -> Tensor:
        """Queries with their positions `[..., 2C]` to tokens `[..., D]`; visual prompts take this way too."""
        tokens: Tensor = self.queries(self.widen(queries))
        return tokens

    def forward(self, cells: Tensor, queries: Tensor, winners: Tensor) -> tuple[Tensor, Tensor]:
        """Visual tokens of N pictures: pixel tokens, a separator, object tokens.

        Args:
            cells: `[N, P, C]` with their prior.
            queries: `[N, Q, 2C]`.
            winners: `[N, Q]` bool.

        Returns:
            `[N, P + 1 + most, D]`, and which of them are no padding, `[N, P + 1 + most]` bool.
        """
        number, places = cells.shape[:2]
        if winners.is_meta:
            # Without values nothing wins: so many objects are counted with.
            chosen = queries[:, :COUNTED_OBJECTS]
            counts, chosen = [chosen.shape[1]] * number, chosen.flatten(0, 1)
        else:
            counts, chosen = winners.sum(1).tolist(), queries[winners]
        pixels = torch.cat([self.cells(cells), self.separator.weight.expand(number, 1, -1)], dim=1)
        objects = nn.utils.rnn.pad_sequence(list(self.objects(chosen).split(counts)), batch_first=True)
        filled = torch.tensor(counts, device=cells.device)[:, None] + places + 1
        mask = torch.arange(places + 1 + objects.shape[1], device=cells.device) < filled
        return torch.cat([pixels, objects], dim=1), mask
