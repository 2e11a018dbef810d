"""Masks from heat: SAM's mask decoder, told roughly where (dense prompt) and which one (sparse prompt).

Legend: N pictures, K masks, C width of a prompt, g cells along the square at stride 8.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.sam.configuration_sam import SamMaskDecoderConfig
from transformers.models.sam.modeling_sam import SamMaskDecoder

from segue.models.mini.point_prompt import point_prompt
from segue.models.mini.readout import CELL_WIDTH

PROMPT_WIDTH = 96
"""C; three eighths of it hold the height, three eighths the side, a quarter the size of what is wanted."""

HEAT_WIDTH = 48
NO_AREA = 1e-3
"""Cells are places without a size: their area stays at the smallest that a prompt can say."""


def mask_decoder_config() -> SamMaskDecoderConfig:
    """SAM's decoder at small size: a hundredth of its parameters, one mask for each prompt."""
    return SamMaskDecoderConfig(
        hidden_size=PROMPT_WIDTH,
        mlp_dim=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_multimask_outputs=0,
        iou_head_depth=2,
        iou_head_hidden_dim=64,
    )


class HeatPrompt(nn.Module):
    """The heat of a name, that of the strongest other one, and where the wanted thing lies: a dense prompt.

    SAM's decoder never lets a cell look at its neighbours, and heat is coarser than the cells, so what it
    means at a cell is worked out here, with the cells' own features beside it. Which of several things is
    wanted is said by the sparse prompt; its products with the places of the cells, height and side apart,
    are two more maps (without them the decoder drew all dogs for "the left dog").

    Source: paper silent; ours, in place of the convolutions over SAM's mask prompt.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Conv2d(CELL_WIDTH, HEAT_WIDTH, 1)
        self.heat = nn.Conv2d(4, HEAT_WIDTH, 3, padding=1)
        self.told = nn.Linear(PROMPT_WIDTH, HEAT_WIDTH)
        self.spread = nn.Sequential(
            nn.GELU(),
            nn.Conv2d(HEAT_WIDTH, HEAT_WIDTH, 3, padding=2, dilation=2),
            nn.GroupNorm(8, HEAT_WIDTH),
            nn.GELU(),
            nn.Conv2d(HEAT_WIDTH, HEAT_WIDTH, 3, padding=4, dilation=4),
            nn.GroupNorm(8, HEAT_WIDTH),
            nn.GELU(),
            nn.Conv2d(HEAT_WIDTH, PROMPT_WIDTH, 1),
        )

    def forward(self, cells: Tensor, heat: Tensor, sparse: Tensor, waves: Tensor) -> Tensor:
        """Cells `[K, 96, g, g]`, heat `[K, 2, g, g]`, prompts `[K, C]`, waves of places to `[K, C, g, g]`."""
        maps = torch.cat([heat.to(waves), nearness(sparse, waves)], dim=1)
        told = self.told(sparse)[:, :, None, None]
        return self.spread(self.seen(cells) + self.heat(maps) + told)


def nearness(sparse: Tensor, waves: Tensor) -> Tensor:
    """How near each cell is to a prompt's point, by height and by side: `[K, 2, g, g]`, at most about 1.

    Args:
        sparse: `[K, C]` prompts; waves: `[K, C, g, g]` of `place_embeddings`.
    """
    share = PROMPT_WIDTH * 3 // 8
    product = sparse[:, : 2 * share, None, None] * waves[:, : 2 * share]
    # Each axis has share / 2 pairs of sine and cosine, so the product with itself is share / 2.
    return product.unflatten(1, (2, share)).sum(2) * (2 / share)


class HeatDecoder(nn.Module):
    """What is drawn with: the image embedding from cells and colours, the heat prompt, SAM's decoder.

    Source: SAM (Kirillov et al. 2023) for the decoder; heat as its dense prompt is ours.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(CELL_WIDTH, PROMPT_WIDTH, 1)
        # Colours at stride 4 are folded into the channels of stride 8: 3 colours x 2 x 2.
        self.colours = nn.Conv2d(12, PROMPT_WIDTH, 3, padding=1)
        self.heat_prompt = HeatPrompt()
        self.mask_decoder = SamMaskDecoder(mask_decoder_config())

    def image_embeddings(self, cells: Tensor, colours: Tensor) -> Tensor:
        """Cells `[N, 96, g, g]` and small pictures `[N, 3, 2g, 2g]` of -1..1 to `[N, C, g, g]`."""
        return self.embed(cells) + self.colours(F.pixel_unshuffle(colours, 2))

    def forward(
        self, cells: Tensor, embeddings: Tensor, places: Tensor, sparse: Tensor, heat: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Draw K masks; each row has its own picture, because each has its own heat.

        Args:
            cells: `[K, 96, g, g]` of the readout.
            embeddings: `[K, C, g, g]` of `image_embeddings`.
            places: `[K, 2, g, g]` of `cell_places`.
            sparse: `[K, C]` prompts, as of `point_prompt`.
            heat: `[K, 2, g, g]`.

        Returns:
            Logits `[K, 4g, 4g]` and the IoU that the decoder expects, `[K]`.
        """
        waves = place_embeddings(places)
        logits, quality = self.mask_decoder(
            image_embeddings=embeddings,
            image_positional_embeddings=waves.to(embeddings.dtype),
            sparse_prompt_embeddings=sparse[:, None, None].to(embeddings.dtype),
            dense_prompt_embeddings=self.heat_prompt(cells, heat, sparse.to(waves), waves),
            multimask_output=False,
        )
        return logits[:, 0, 0].float(), quality[:, 0, 0].float()


def place_embeddings(places: Tensor) -> Tensor:
    """`[K, 2, g, g]` places to `[K, C, g, g]`: the point prompt of something tiny at each cell.

    Cells and prompts then speak the same language: the product of both is largest where the prompt points.
    """
    count, _, rows, columns = places.shape
    flat = places.permute(0, 2, 3, 1).reshape(-1, 2)
    area = flat.new_full((len(flat),), NO_AREA)
    waves = point_prompt(flat, area, PROMPT_WIDTH)
    return waves.reshape(count, rows, columns, PROMPT_WIDTH).permute(0, 3, 1, 2)
