"""Which of a list of names an image shows, and in which colour, read from its pixels by convolutions.

Legend: N images, K names, A attributes, h w the finest grid (a quarter of the image's side), C channels.

A small vision transformer that learned from a few hundred photographs tells large shapes and overlooks a pair
of glasses. Convolutions learn such things from as little, and what they find is spelled to the language
model, which then compares images by reading.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ResNetBackbone
from transformers import initialization as init

from segue.models.mini.configuration_mini import MiniConfig

CHANNELS = 64
"""Width of the maps on which names are read."""

LOUDEST = 6
"""Cells of the finest grid that answer for the whole image: a pair of glasses covers few more."""


LEAST_AREA = 1e-3
"""Share of the image below which the area of a name no longer counts: a few cells."""


class LabelReader(nn.Module):
    """Presence and attributes of every name, from a ResNet and a feature pyramid.

    Names are read cell by cell. For the image answer the cells that speak loudest, the area that a name
    covers, the features of the cells that show it, and what is said of the other names (who wears trousers
    wears no dress); its attributes are those of the same cells. Nothing is read from the image as a whole:
    the means of a few hundred photographs are soon known by heart.

    Source: paper silent; ours. Pyramid: Lin et al. 2017.
    """

    def __init__(self, config: MiniConfig) -> None:
        super().__init__()
        names, attributes = len(config.label_reader_names), len(config.slot_attributes)
        self.smaller = tuple(config.label_reader_smaller)
        self.backbone = ResNetBackbone(config.label_reader_config)
        widths = list(config.label_reader_config.hidden_sizes)
        self.lateral = nn.ModuleList([nn.Conv2d(width, CHANNELS, 1) for width in widths])
        self.smooth = nn.Sequential(
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.BatchNorm2d(CHANNELS), nn.ReLU()
        )
        self.names = nn.Conv2d(CHANNELS, names + 1, 1)
        self.attributes = nn.Conv2d(CHANNELS, attributes, 1)
        self.dropout = nn.Dropout(0.2)
        self.evidence = nn.Parameter(torch.empty(names, 2 + CHANNELS))
        self.others = nn.Linear(2 * names, names)

    def reset(self) -> None:
        """The start of what the initialisation of its parts does not set: the loudest cells alone answer."""
        loudest_first = torch.zeros(self.evidence.shape)
        loudest_first[:, 0] = 1.0
        init.copy_(self.evidence, loudest_first)
        init.zeros_(self.others.weight)
        init.zeros_(self.others.bias)

    def train(self, mode: bool = True) -> LabelReader:
        """Batch statistics stay as they are while nothing here trains, whatever happens around it."""
        return super().train(mode and any(p.requires_grad for p in self.parameters()))

    def maps(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`[N, 3, S, S]` to names `[N, K + 1, h, w]` (the first is none), attributes, features of cells."""
        merged: Tensor | None = None
        for found, lateral in zip(
            reversed(self.backbone(pixels).feature_maps), reversed(self.lateral), strict=True
        ):
            level = lateral(found)
            if merged is not None:
                level = level + F.interpolate(merged, size=level.shape[-2:], mode="nearest")
            merged = level
        cells = self.smooth(merged)
        return self.names(cells).float(), self.attributes(cells).float(), cells.float()

    def judge(self, names: Tensor, attributes: Tensor, cells: Tensor) -> Tensor:
        """What `maps` found, `[N, K, 1 + A]`: each name's logit of presence, logits of its attributes."""
        logs = names.log_softmax(1)[:, 1:].flatten(2)  # (N, K, h w)
        loud = logs.topk(min(LOUDEST, logs.shape[2]), dim=2).values.mean(2)
        area = (logs.exp().mean(2) + LEAST_AREA).log()
        where = logs.softmax(2)
        # What is pooled must not decide where it is pooled, nor one name what another's cells say.
        shown = torch.einsum("nkp,ncp->nkc", where.detach(), cells.flatten(2))
        evidence = torch.cat([loud[..., None], area[..., None], self.dropout(shown)], dim=2)
        read = torch.cat([loud, area], dim=1).detach().to(self.others.weight)
        presence = (evidence * self.evidence).sum(2) + self.others(read)
        told = torch.einsum("nkp,nap->nka", where, attributes.flatten(2))
        return torch.cat([presence[..., None], told], dim=2)

    def forward(self, pixels: Tensor) -> Tensor:
        """`[N, 3, S, S]` to `[N, K, 1 + A]`, see `judge`; an image answers at all sizes, mirrored and not."""
        if self.training:
            return self.judge(*self.maps(pixels))
        sized = [pixels, *(resized(pixels, size) for size in self.smaller)]
        views = [view for picture in sized for view in (picture, picture.flip(-1))]
        return torch.stack([self.judge(*self.maps(view)) for view in views]).mean(0)


def resized(pixels: Tensor, size: int) -> Tensor:
    """`[N, 3, S, S]` to `[N, 3, size, size]`."""
    small = F.interpolate(pixels.float(), size=(size, size), mode="bilinear", antialias=True)
    return small.to(pixels)


def contrasted(readings: Tensor, num_images: list[int]) -> Tensor:
    """Readings in which each image's presences stand out from those of the other images beside it.

    To a logit its lead over the best of the others is added: (1, -1) becomes (3, -3), (1, 1) stays. Which of
    several images shows a thing is then told more clearly than whether one alone does.

    Args:
        readings: `[N, K, 1 + A]` of a `LabelReader`.
        num_images: counts of the conversations that sum to N; a single image stays as it is.

    Source: paper silent; ours.
    """
    groups = []
    for group in readings[..., 0].split(num_images):
        if len(group) > 1:
            best, second = group.topk(2, dim=0).values
            group = 2 * group - torch.where(group == best, second, best)
        groups.append(group)
    return torch.cat([torch.cat(groups)[..., None], readings[..., 1:]], dim=-1)


def spelled(readings: Tensor, names: Tensor, attributes: Tensor) -> Tensor:
    """Readings as words: each name as much as it is there, and its attributes with it.

    Args:
        readings: `[N, K, 1 + A]` of a `LabelReader`.
        names: `[K, D]` embeddings of the names; `attributes`: `[A, D]`.

    Returns:
        `[N, K, D]`; nothing for a name that is not there.
    """
    presence, told = readings[..., :1].sigmoid().to(names), readings[..., 1:].softmax(-1).to(names)
    return presence * (names + told @ attributes)
