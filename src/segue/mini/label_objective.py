"""Stage "labels": a label reader learns what photographs show, apart from all other parts of the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from segue.errors import InputError
from segue.mini.dense_labels import centres
from segue.mini.pools import PHOTO_LABELS, PhotoPool, ScenePool
from segue.mini.slots import photo_targets
from segue.mini.vocabulary import IGNORED
from segue.models.image_streams import normalise
from segue.models.mini.label_reader import LabelReader
from segue.models.mini.modeling_mini import MiniModel
from segue.training.augmentation import flip, jitter, resize_pair, tint, warp

RAREST = 12.0
"""How much more the pixels of the rarest labels count than the background's, at most."""


class LabelObjective:
    """Batches of photographs seen a little differently, and of scenes, which show no label.

    Args:
        batch_size: images a step.
        photo_share: fraction of them that are photographs.
        whole: share of the photographs that are seen as they are, or mirrored, as a model will meet them.
        recolour: share of the labels of a photograph that get another colour; they teach shape only.
        size: side of the pictures in pixels; by default the reader's own. Smaller pictures teach as much in
            less time, and warped ones show things larger than whole ones do: what is learned from them reads
            whole pictures of a larger size best (Touvron et al. 2019).

    Raises:
        InputError: the model has no label reader, or there are no photographs.

    Source: ours.
    """

    trainable: tuple[str, ...] = ("label_reader",)

    def __init__(
        self,
        model: MiniModel,
        scenes: ScenePool,
        photos: PhotoPool | None,
        *,
        batch_size: int = 16,
        photo_share: float = 0.9,
        whole: float = 0.0,
        recolour: float = 0.0,
        size: int | None = None,
        seed: int = 0,
    ) -> None:
        if model.label_reader is None or photos is None or not photo_share:
            raise InputError(
                "There is nothing to learn labels with.",
                expected="a model with label_reader_config, and photographs",
                found="no label reader" if model.label_reader is None else "no photographs",
                where="stage labels",
                fix="choose a preset that has one (segue-scenes), and set data.photos and data.photo_share",
            )
        self.scenes, self.photos = scenes, photos
        self.batch_size, self.photo_share, self.seed = batch_size, photo_share, seed
        self.whole, self.recolour = whole, recolour
        self.size = size or model.config.label_reader_size
        self.weights = pixel_weights(photos)

    def batch(self, step: int) -> dict[str, Any]:
        """Pixels, label maps (0 none, k the k-th label), presences and colours."""
        rng = np.random.default_rng([self.seed, step, 8])
        pictures, maps, presence, colours = [], [], [], []
        for _ in range(self.batch_size):
            draw = self.photo if rng.random() < self.photo_share else self.scene
            picture, labels, there, coloured = draw(rng)
            pictures.append(jitter(picture, rng))
            maps.append(labels)
            presence.append(there)
            colours.append(coloured)
        return {
            "pixels": normalise(np.stack(pictures), "pixel_values_labels"),
            "maps": torch.from_numpy(np.stack(maps)).long(),
            "presence": torch.from_numpy(np.stack(presence)),
            "colours": torch.from_numpy(np.stack(colours)),
        }

    def photo(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Picture, label map, presence and colour of every label; what is doubted is IGNORED."""
        i = int(rng.integers(len(self.photos)))
        image, labels = self.photos.images[i], self.photos.label_maps[i]
        if rng.random() < self.whole:
            image, labels = resize_pair(image, labels, (self.size, self.size))
            image, labels = flip(image, labels) if rng.random() < 0.5 else (image, labels)
        else:
            image, labels = warp(image, labels, self.size, rng)
        facts = self.photos.records[i].facts
        targets = photo_targets(facts, labels, 0)
        colours = targets.label_colours
        for k in np.flatnonzero(rng.random(len(PHOTO_LABELS)) < self.recolour):
            image, colours[k] = tint(image, labels == k + 1, rng), IGNORED
        shown = labels.astype(np.int64)
        shown[np.isin(labels, [k + 1 for k, n in enumerate(PHOTO_LABELS) if n in facts.uncertain])] = IGNORED
        return image, shown, targets.presence, colours

    def scene(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The same for a scene: nobody is there, and nothing is worn."""
        _, (image, *_), _ = self.scenes.draw(rng, self.size)
        nothing = np.zeros(len(PHOTO_LABELS), np.int64)
        return image, np.zeros(image.shape[:2], np.int64), nothing, np.full_like(nothing, IGNORED)

    def loss(self, model: MiniModel, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy of the cells' labels, of the presences and of the colours of what is there."""
        reader = model.label_reader
        assert isinstance(reader, LabelReader)
        names, attributes, cells = reader.maps(batch["pixels"])
        judged = reader.judge(names, attributes, cells)
        shown = centres(batch["maps"][:, None], names.shape[-1])[:, 0]
        labels = F.cross_entropy(names.flatten(2), shown, weight=self.weights)
        known, coloured = batch["presence"] >= 0, batch["colours"] != IGNORED
        there, wanted = judged[..., 0][known], batch["presence"][known].float()
        presence = F.binary_cross_entropy_with_logits(there, wanted)
        colours = judged.sum() * 0.0
        if bool(coloured.any()):
            colours = F.cross_entropy(judged[..., 1:][coloured], batch["colours"][coloured])
        terms = {"cells": labels, "presence_loss": presence, "colours": colours}
        loss = labels + presence + 0.5 * colours
        right = float(((there > 0) == (wanted > 0.5)).float().mean())
        return loss, {name: float(term.detach()) for name, term in terms.items()} | {"presence": right}


def pixel_weights(photos: PhotoPool) -> Tensor:
    """`[1 + labels]` weight of a cell by what it shows: the inverse root of how common that is."""
    counts = sum(np.bincount(labels.ravel(), minlength=len(PHOTO_LABELS) + 1) for labels in photos.label_maps)
    weights = torch.as_tensor(np.asarray(counts)).clamp(min=1).float().rsqrt()
    return (weights / weights[0]).clamp(max=RAREST)
