"""Training images whose tower features are cached: scenes as they are, photographs in a few fixed crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segue.mini.feature_cache import FeatureCache, cache_features
from segue.mini.pools import PhotoPool, ScenePool
from segue.mini.slots import SlotTargets, photo_targets, scene_targets
from segue.models.mini.modeling_mini import MiniModel
from segue.training.augmentation import flip, random_crop, resize_pair


class CachedImages:
    """Scenes and photographs with the features that the frozen towers give them.

    A "view" is what has features: a scene, or one of the crops of a photograph.

    Args:
        model: its towers look at every view once.
        cache: folder of the features.
        photo_views: crops of each photograph; the first is all of it.
    """

    def __init__(
        self, model: MiniModel, scenes: ScenePool, photos: PhotoPool | None, *, cache: Path, photo_views: int
    ) -> None:
        self.scenes, self.photos, self.photo_views = scenes, photos, photo_views
        self.size = model.config.vision_config.image_size
        self.num_slots = model.config.num_object_slots
        self.features: dict[str, FeatureCache] = {
            "scenes": cache_features(model, cache, "scenes", len(scenes), self.scene_picture)
        }
        if photos is not None:
            self.features["photos"] = cache_features(
                model, cache, "photos", len(photos) * photo_views, self.photo_picture
            )

    def scene_picture(self, index: int, size: int | None = None) -> NDArray[np.uint8]:
        """A scene at `size` (the towers' by default)."""
        image, wanted = np.asarray(self.scenes.images[index]), size or self.size
        if image.shape[0] != wanted:
            image, _ = resize_pair(image, image[..., 0], (wanted, wanted))
        return image

    def photo_crop(self, view: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """A fixed crop of a photograph, with its labels."""
        assert self.photos is not None
        index, number = divmod(view, self.photo_views)
        image, labels = self.photos.images[index], self.photos.label_maps[index]
        if number:
            rng = np.random.default_rng([view, 3])
            image, labels = random_crop(image, labels, rng, least=0.85)
            if rng.random() < 0.5:
                image, labels = flip(image, labels)
        return np.ascontiguousarray(image), np.ascontiguousarray(labels)

    def photo_picture(self, view: int, size: int | None = None) -> NDArray[np.uint8]:
        """The crop squeezed to a square of `size` (the towers' by default)."""
        wanted = size or self.size
        return resize_pair(*self.photo_crop(view), (wanted, wanted))[0]

    def views(self, source: str, images: list[int], rng: np.random.Generator) -> list[int]:
        """Views of images: scenes are their own, of a photograph any crop."""
        if source == "scenes":
            return images
        return [i * self.photo_views + int(rng.integers(self.photo_views)) for i in images]

    def slot_targets(self, source: str, view: int) -> SlotTargets:
        """What the slots should say of a view."""
        if source == "scenes" or self.photos is None:
            return scene_targets(self.scenes.objects[view], self.num_slots)
        return photo_targets(self.photos.records[view // self.photo_views].facts, None, self.num_slots)
