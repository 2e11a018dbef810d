"""The embedded model's segmenter: pictures are seen once, masks are drawn where a name is hot.

Legend: N pictures, K masks, S side of the square, g cells at stride 8, A all names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segue.errors import InputError
from segue.models.mini.eyes import Eyes, Sight
from segue.models.mini.find import group_of
from segue.models.mini.findings import Finding
from segue.models.mini.heat import LOUDEST_OTHER, fold_kinds, fold_matrix
from segue.models.mini.heat_decoder import PROMPT_WIDTH
from segue.models.mini.names import NameTable
from segue.models.mini.picture import SIDE
from segue.models.mini.point_prompt import point_prompt
from segue.models.mini.readout import Readings, cell_places
from segue.models.mini.trunk import PIXEL_MEAN, PIXEL_STD, Trunk, load_trunk
from segue.models.segmenter import MaskPrompts, SegmenterFeatures

COLOUR_STRIDE = 4
"""Masks follow the edges of the picture made this much smaller."""


SIZE_MATTERS = 0.5
"""How much a name loses that is larger or smaller here than a marked region: e-fold in 7.4 of area."""

WHOLLY_HOT = 0.4
"""Mean heat from which on a region shows nothing but its name: things are hottest in their middle."""


class MiniSegmenter(nn.Module):
    """Sees names everywhere in a picture, finds things, draws masks.

    The trunk is not among its parameters: it is installed, never saved with the weights, and loaded when the
    first picture is seen (a model that is being filled from a file has no numbers yet).

    Args:
        table: names.

    Source: paper silent; ours. The protocol is `segue.models.segmenter.Segmenter`.
    """

    name = "heat of a name, drawn by SAM's mask decoder"
    input_size = SIDE
    centred = False
    prompt_width = PROMPT_WIDTH
    heat_grid = SIDE // 8

    def __init__(self, table: NameTable) -> None:
        super().__init__()
        self.eyes = Eyes(table)
        self._outside: tuple[Trunk, Tensor] | None = None

    @property
    def outside(self) -> tuple[Trunk, Tensor]:
        """The trunk and the matrix that folds its kinds, where the weights are."""
        place = self.eyes.decoder.embed.weight
        if self._outside is None:
            self._outside = (load_trunk(), fold_matrix(self.eyes.table))
        trunk, matrix = self._outside
        if matrix.device != place.device or matrix.dtype != place.dtype:
            self._outside = (trunk.to(place.device, place.dtype), matrix.to(place.device, place.dtype))
        return self._outside

    def encode(self, pixels: Tensor) -> SegmenterFeatures:
        """Pictures `[N, 3, S, S]`, normalised as the trunk wants it, grey beside the picture, to features."""
        trunk, matrix = self.outside
        with torch.no_grad():
            seen = trunk(pixels)
            folded = fold_kinds(trunk.kinds(seen.stride32), matrix)
            places = cell_places(inside_hw(pixels), seen.stride8.shape[-1], pixels.shape[-1])
        readings = self.eyes.read(seen.stride8, seen.stride16, seen.stride32)
        sight = self.eyes.judge(readings, folded, places)
        colours = F.avg_pool2d(pixels, COLOUR_STRIDE) * (PIXEL_STD / 127.5) + (PIXEL_MEAN / 127.5 - 1)
        return vars(readings) | {
            # Read by no decoder: things of kinds that were never trained are found again by it.
            "stride32": seen.stride32,
            "embeddings": self.eyes.image_embeddings(readings.cells, colours),
            "folded": folded,
            "places": places,
            "evidence": sight.evidence,
            "presence": sight.presence,
        }

    def decode(
        self, features: SegmenterFeatures, prompts: MaskPrompts, names: Sequence[str] | None = None
    ) -> Tensor:
        """Logits `[K, S / 2, S / 2]`; dense prompts are those of `heat_prompts`.

        Args:
            names: of the masks, which say whose decoders draw: names of own data have one of their own. The
                model's first one by default.

        Raises:
            InputError: there are no dense prompts, or they are no pairs of heats.
        """
        rows, dense = prompts.image_index, prompts.dense
        cells, places = features["cells"], features["places"]
        if dense is None or dense.ndim != 4 or dense.shape[1] != 2:
            raise InputError(
                "This segmenter draws from the heat of a name.",
                expected="dense prompts [K, 2, g, g] of heat_prompts",
                found="none" if dense is None else str(list(dense.shape)),
                where="MiniSegmenter.decode",
                fix="give the heat of each phrase's name",
            )
        if len(prompts) == 0:
            return cells.new_zeros((0, 4 * cells.shape[-2], 4 * cells.shape[-1]))
        drawn_by = self.eyes.table.drawn_by
        blocks = [(0,)] * len(prompts) if names is None else [drawn_by(name) for name in names]
        logits = self.eyes.draw(
            cells[rows], features["embeddings"][rows], places[rows], prompts.sparse, dense, blocks
        )
        beside = F.interpolate((places.amax(1, keepdim=True) >= 1).float(), size=logits.shape[-2:])
        return logits.masked_fill(beside[rows, 0] > 0, torch.finfo(logits.dtype).min)

    def draw_heat(self, features: SegmenterFeatures, heat: Tensor, image_index: Tensor) -> Tensor:
        """Draw where `[K, g, g]` maps are hot, without a name and without a place: all that is hot."""
        dense = torch.stack([heat.clamp(0, 1), (-heat).clamp(0, LOUDEST_OTHER)], dim=1)
        sparse = features["cells"].new_zeros(len(heat), PROMPT_WIDTH)
        return self.decode(features, MaskPrompts(sparse, image_index, dense.to(sparse)))

    def draw_point(self, features: SegmenterFeatures, point: Tensor) -> Tensor:
        """Draw the thing at a point `[2]`, x and y in pixels of the square: the likeliest name's there."""
        x, y = (int(value) * self.heat_grid // SIDE for value in point.tolist())
        return self._draw_within(features, (y, y + 1, x, x + 1))

    def draw_box(self, features: SegmenterFeatures, box: Tensor) -> Tensor:
        """Draw the thing in a box `[4]` of the square: the name's that is likeliest all over it."""
        left, top, right, bottom = (value * self.heat_grid / SIDE for value in box.tolist())
        x, y = int(left), int(top)
        window = (y, max(y + 1, round(bottom)), x, max(x + 1, round(right)))
        inside = int((features["places"][0].amax(0) < 1).sum())
        return self._draw_within(features, window, (right - left) * (bottom - top) / max(1, inside))

    def _draw_within(
        self, features: SegmenterFeatures, window: tuple[int, int, int, int], area: float | None = None
    ) -> Tensor:
        """Logits `[1, h, w]` of what fills cells top, bottom, left, right; its area read there if unknown."""
        maps = self.eyes.maps(sight_of(features), 0)
        cells = (slice(None), slice(*window[:2]), slice(*window[2:]))
        likely = maps.heat[cells].mean((1, 2)) * maps.presence
        name = list(self.eyes.table.names)[int(likely.argmax())]
        centre = maps.places[cells].mean((1, 2))
        if area is None:
            area = float(maps.log_areas[group_of(name, self.eyes.table)][cells[1:]].exp().mean())
        sparse = point_prompt(centre[None], centre.new_tensor([area]), PROMPT_WIDTH)
        here = torch.zeros(1, dtype=torch.long)
        dense = self.heat_prompts(features, [name], here)
        return self.decode(features, MaskPrompts(sparse, here, dense), [name])

    def heat_prompts(self, features: SegmenterFeatures, names: list[str], image_index: Tensor) -> Tensor:
        """Dense prompts `[K, 2, g, g]` of names, each in the picture that it is asked for in.

        Raises:
            InputError: a name that the table lacks.
        """
        sight = sight_of(features)
        for name in names:
            if name not in self.eyes.table.names:
                raise InputError(
                    "a name without heat",
                    expected="a name of the table; NameTable.find leads to one",
                    found=repr(name),
                    where="MiniSegmenter.heat_prompts",
                    fix="look the word up first",
                )
        grid = features["cells"].shape[-2:]
        heats = [
            self.eyes.heat_prompt(name, sight, row)
            for name, row in zip(names, image_index.tolist(), strict=True)
        ]
        return torch.stack(heats) if heats else features["cells"].new_zeros((0, 2, *grid))

    @torch.no_grad()
    def under(self, features: SegmenterFeatures, grid: Tensor) -> Finding:
        """What a marked region of one picture shows: the name that is likeliest all over it.

        Its presence is that of the name in the picture, where the region covers what is hot; a region that
        cuts across things is told as doubtful.

        Args:
            grid: `[G, G]`, how much of each cell of the square the region covers, 0 to 1.
        """
        maps = self.eyes.maps(sight_of(features), 0)
        covered = F.interpolate(grid[None, None].to(maps.heat), size=maps.heat.shape[-2:], mode="area")[0, 0]
        inside = (maps.places.amax(0) < 1).to(covered)
        covered = covered * inside
        total = covered.sum().clamp(min=1e-6)
        area = float(total / inside.sum().clamp(min=1))
        names = list(self.eyes.table.names)
        groups = torch.tensor([group_of(name, self.eyes.table) for name in names])
        # A dog's head is dog all over too: what is as large as the region is meant.
        sizes = (maps.log_areas * covered).sum((1, 2)) / total  # (2 B,)
        misfit = (sizes - math.log(max(area, 1e-4))).abs()[groups]
        hot = (maps.heat * covered).sum((1, 2)) / total
        best = int((hot * maps.presence * (-SIZE_MATTERS * misfit).exp()).argmax())
        presence = min(float(maps.presence[best]), float(hot[best]) / WHOLLY_HOT)
        centre_y, centre_x = ((maps.places * covered).sum((1, 2)) / total).clamp(0, 1).tolist()
        return Finding(names[best], min(presence, 1.0), (centre_y, centre_x), min(area, 1.0))

    @torch.no_grad()
    def find(self, features: SegmenterFeatures) -> list[list[Finding]]:
        """Findings of each picture, the surest first."""
        return self.eyes.find(sight_of(features))


def sight_of(features: SegmenterFeatures) -> Sight:
    """Features as what was seen."""
    readings = Readings(*(features[name] for name in ("cells", "names", "centres", "log_areas")))
    return Sight(readings, *(features[name] for name in ("folded", "places", "evidence", "presence")))


def inside_hw(pixels: Tensor) -> Tensor:
    """`[N, 2]` height and width of each picture in its square `[N, 3, S, S]`: where grey begins.

    A picture that ends in rows of exactly the padding's grey is taken for so much smaller; nothing is there.
    """
    lit = (pixels != 0).any(1)
    side = pixels.shape[-1]
    ends = torch.arange(1, side + 1, device=pixels.device)
    heights = (lit.any(2) * ends).amax(1)
    widths = (lit.any(1) * ends).amax(1)
    found = torch.stack([heights, widths], dim=1)
    return torch.where(found == 0, side, found)
