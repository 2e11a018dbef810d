"""Dense labels: what every patch shows (class, colour, part), and linear heads that must tell it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from segue.mini.photos.facts import PhotoFacts
from segue.mini.vocabulary import (
    CLASS_INDEX,
    COLOUR_INDEX,
    IGNORED,
    NOTHING,
    PART_INDEX,
    PARTS,
    PHOTO_LABELS,
)
from segue.scenes.kinds import KINDS, SceneObject

Maps = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Class, colour and part of every pixel."""


class PatchHeads(nn.Module):
    """Class, colour and part of a token, each by one linear layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.classes = nn.Linear(width, NOTHING + 1)
        self.colours = nn.Linear(width, len(COLOUR_INDEX))
        self.parts = nn.Linear(width, len(PARTS) + 1)

    def loss(self, tokens: Tensor, dense: Tensor) -> Tensor:
        """Sum of three cross-entropies; `[N, L, D]` tokens, `[N, 3, L]` labels."""
        heads = (self.classes, self.colours, self.parts)
        losses = [cross_entropy(head(tokens), dense[:, k]) for k, head in enumerate(heads)]
        return torch.stack(losses).sum()


class DenseHeads(nn.Module):
    """Linear readouts of the towers' patch tokens, used in training only."""

    def __init__(self, clip_width: int, dino_width: int) -> None:
        super().__init__()
        self.clip_classes = nn.Linear(clip_width, NOTHING + 1)
        self.clip_colours = nn.Linear(clip_width, len(COLOUR_INDEX))
        self.dino_classes = nn.Linear(dino_width, NOTHING + 1)
        self.dino_colours = nn.Linear(dino_width, len(COLOUR_INDEX))
        self.dino_parts = nn.Linear(dino_width, len(PARTS) + 1)


def scene_maps(things: Sequence[SceneObject], objects: NDArray[np.uint8], parts: NDArray[np.uint8]) -> Maps:
    """Labels of a scene from its object and part maps."""
    classes = np.array([NOTHING] + [CLASS_INDEX[t.kind] for t in things])
    colours = np.array([IGNORED] + [COLOUR_INDEX[t.colour] for t in things])
    table = np.full((len(things) + 1, 8), len(PARTS))
    for k, thing in enumerate(things):
        names = KINDS[thing.kind].parts
        table[k + 1, 1 : len(names) + 1] = [PART_INDEX[f"{thing.kind}:{p}"] for p in names]
    return classes[objects], colours[objects], table[objects, parts]


def photo_maps(facts: PhotoFacts, labels: NDArray[np.uint8]) -> Maps:
    """Labels of a photograph from its label map; it has no parts."""
    classes = np.array([NOTHING] + [CLASS_INDEX[n] for n in PHOTO_LABELS])
    colours = np.array(
        [IGNORED]
        + [
            COLOUR_INDEX[facts.labels[n].colour] if facts.has(n) and n != "person" else IGNORED
            for n in PHOTO_LABELS
        ]
    )
    return classes[labels], colours[labels], np.full(labels.shape, len(PARTS))


def centres(maps: Tensor, grid: int) -> Tensor:
    """Labels at the centre pixels of a grid: `[N, maps, S, S]` to `[N, maps, grid * grid]`."""
    places = ((torch.arange(grid) + 0.5) * maps.shape[-1] / grid).long()
    return maps[:, :, places][..., places].flatten(2)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over targets that apply; 0 when none does."""
    if not bool((targets != IGNORED).any()):
        return logits.sum() * 0.0
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
