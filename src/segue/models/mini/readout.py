"""What the cells of a picture show, learned: names that ImageNet lacks, and where one thing ends.

Legend: N pictures, T trained names, C channels, h8 w8 h16 w16 h32 w32 the cells of strides 8, 16 and 32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segue.models.mini.trunk import WIDTHS

CONTEXT_WIDTH, CELL_WIDTH = 128, 96
"""Channels at stride 16, where most of the surroundings are taken in, and at stride 8."""

GROUPS = ("things", "parts")
"""Instances of parts lie inside instances of things, so each group has maps of its own."""

RARE = -4.0
"""Logit with which a name starts: about one cell of fifty shows it."""


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside the identity; the second looks further.

    Source: He et al. 2016; the dilation is ours.
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation),
            nn.GroupNorm(8, width),
            nn.GELU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[N, C, h, w]` to the same."""
        return x + self.layers(x)


@dataclass(frozen=True)
class Readings:
    """What a `Readout` says of N pictures, at stride 8.

    Attributes:
        cells: `[N, C, h8, w8]` features, from which masks are drawn.
        names: `[N, T, h8, w8]` logits of the trained names.
        centres: `[N, 2, h8, w8]` logits, by `GROUPS`: is this the middle of a thing (of a part)?
        log_areas: `[N, 2, h8, w8]` by `GROUPS`: log of the picture's fraction that the thing here covers.
    """

    cells: Tensor
    names: Tensor
    centres: Tensor
    log_areas: Tensor


class Readout(nn.Module):
    """A small pyramid over the frozen trunk, and what is read from its finest cells.

    Args:
        num_names: T.

    Source: paper silent; ours. Centres and sizes after Zhou et al. 2019 (objects as points), class-agnostic,
    so that they also part things whose kind was never trained.
    """

    def __init__(self, num_names: int) -> None:
        super().__init__()
        self.lateral32 = nn.Conv2d(WIDTHS[32], CONTEXT_WIDTH, 1)
        self.lateral16 = nn.Conv2d(WIDTHS[16], CONTEXT_WIDTH, 1)
        self.norm16 = nn.GroupNorm(8, CONTEXT_WIDTH)
        self.context = nn.Sequential(ResidualBlock(CONTEXT_WIDTH, 2), ResidualBlock(CONTEXT_WIDTH, 3))
        self.lateral8 = nn.Conv2d(WIDTHS[8], CELL_WIDTH, 1)
        self.from16 = nn.Conv2d(CONTEXT_WIDTH, CELL_WIDTH, 1)
        self.norm8 = nn.GroupNorm(8, CELL_WIDTH)
        self.detail = ResidualBlock(CELL_WIDTH, 2)
        self.names = nn.Conv2d(CELL_WIDTH, num_names, 1)
        self.instances = nn.Sequential(
            nn.Conv2d(CELL_WIDTH, CELL_WIDTH // 2, 3, padding=1), nn.GELU(), nn.Conv2d(CELL_WIDTH // 2, 4, 1)
        )
        nn.init.constant_(self.names.bias, RARE)  # type: ignore[arg-type]
        nn.init.constant_(self.instances[-1].bias, -3.0)  # type: ignore[arg-type]

    def forward(self, stride8: Tensor, stride16: Tensor, stride32: Tensor) -> Readings:
        """The trunk's features to `Readings`."""
        coarse = F.interpolate(self.lateral32(stride32), size=stride16.shape[-2:], mode="bilinear")
        context = self.context(self.norm16(self.lateral16(stride16) + coarse))
        surround = F.interpolate(self.from16(context), size=stride8.shape[-2:], mode="bilinear")
        cells = self.detail(self.norm8(self.lateral8(stride8) + surround))
        centres, log_areas = self.instances(cells).float().chunk(2, dim=1)
        return Readings(cells, self.names(cells).float(), centres, log_areas)


def cell_places(inside_hw: Tensor, grid: int, side: int) -> Tensor:
    """Where in its picture each cell lies, `[N, 2, grid, grid]` (y, x); beyond 1 is beside the picture.

    Args:
        inside_hw: `[N, 2]` height and width of each picture in its square, in pixels.
        grid: cells along the square.
        side: of the square in pixels.
    """
    middles = (torch.arange(grid, device=inside_hw.device) + 0.5) * (side / grid)
    ys = middles[None] / inside_hw[:, :1]
    xs = middles[None] / inside_hw[:, 1:]
    return torch.stack([ys[:, :, None].expand(-1, -1, grid), xs[:, None].expand(-1, grid, -1)], dim=1)
