"""Stage "slots": fusion, Q-Former and object slots read frozen towers' cached features, in large batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue.mini.cached_images import CachedImages
from segue.mini.feature_cache import drop_features
from segue.mini.pools import PhotoPool, ScenePool
from segue.mini.slots import slot_losses, stack_targets
from segue.models.mini.modeling_mini import MiniModel


class SlotObjective:
    """Batches of cached features with slot targets and random instructions.

    Args:
        instructions: tokenised questions `[M, Lq]` (padded) and their mask.
        cache: folder of the features; the conversation stage reads the same ones.
        feature_dropout: share of the towers' outputs that is zeroed.

    Source: ours.
    """

    trainable: tuple[str, ...] = ("fusion", "reader", "slot_heads")

    def __init__(
        self,
        model: MiniModel,
        scenes: ScenePool,
        photos: PhotoPool | None,
        instructions: tuple[Tensor, Tensor],
        *,
        cache: Path,
        batch_size: int = 64,
        photo_share: float = 0.25,
        scene_count: int = 8192,
        photo_views: int = 3,
        feature_dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.images = CachedImages(
            model, scenes.subset(scene_count), photos, cache=cache, photo_views=photo_views
        )
        self.instructions, self.batch_size, self.seed = instructions, batch_size, seed
        self.feature_dropout = feature_dropout
        self.photo_share = photo_share if photos is not None else 0.0

    def batch(self, step: int) -> dict[str, Any]:
        """Features, instructions and slot targets."""
        rng = np.random.default_rng([self.seed, step, 6])
        num_photos = int(rng.binomial(self.batch_size, self.photo_share))
        drawn = {"scenes": rng.integers(len(self.images.scenes), size=self.batch_size - num_photos).tolist()}
        if self.images.photos is not None:
            photos = rng.integers(len(self.images.photos), size=num_photos).tolist()
            drawn["photos"] = self.images.views("photos", photos, rng)
        found = [self.images.features[source](views) for source, views in drawn.items() if views]
        features = {
            name: drop_features(torch.cat([f[name] for f in found]), self.feature_dropout, rng)
            for name in ("vision_features", "aux_features")
        }
        chosen = rng.integers(len(self.instructions[0]), size=self.batch_size)
        return features | {
            "qformer_input_ids": self.instructions[0][chosen],
            "qformer_attention_mask": self.instructions[1][chosen],
            "slots": stack_targets(
                [self.images.slot_targets(s, v) for s, views in drawn.items() for v in views]
            ),
        }

    def loss(self, model: MiniModel, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """The slot losses."""
        targets = batch.pop("slots")
        visual = model.encode_images([1] * len(batch["vision_features"]), **batch)
        assert model.slot_heads is not None
        return slot_losses(
            model.slot_heads, visual.queries, targets, silent_photos=model.label_reader is not None
        )
