"""Stage "vision": towers, fusion and Q-Former learn what is where, before any language.

A supervised stand-in for the pretraining of CLIP and DINOv2, and the object slots' auxiliary loss.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segue.mini.dense_labels import DenseHeads, centres, cross_entropy, photo_maps, scene_maps
from segue.mini.pools import PhotoPool, ScenePool
from segue.mini.slots import SlotTargets, photo_targets, scene_targets, slot_losses, stack_targets
from segue.mini.vocabulary import IGNORED
from segue.models.image_streams import normalise
from segue.models.mini.modeling_mini import MiniModel
from segue.training.augmentation import jitter, permute_channels, warp


class VisionObjective:
    """Batches of single images with dense labels and slot targets.

    Args:
        instructions: tokenised questions `[M, Lq]` (padded) and their mask; the Q-Former reads one at random,
            so that it meets instructions before language training.
        recolour: share of the images whose colour channels are permuted; they teach shape only.
    """

    trainable = ("vision_model", "aux_vision_model", "fusion", "reader", "slot_heads", "training_heads")

    def __init__(
        self,
        model: MiniModel,
        scenes: ScenePool,
        photos: PhotoPool | None,
        instructions: tuple[Tensor, Tensor],
        *,
        batch_size: int = 24,
        photo_share: float = 0.3,
        recolour: float = 0.3,
        seed: int = 0,
    ) -> None:
        self.scenes, self.photos, self.instructions = scenes, photos, instructions
        self.batch_size, self.photo_share = batch_size, photo_share if photos else 0.0
        self.recolour, self.seed = recolour, seed
        vision, aux = model.config.vision_config, model.config.aux_vision_config
        self.size = vision.image_size
        self.clip_grid, self.dino_grid = (
            vision.image_size // vision.patch_size,
            aux.image_size // aux.patch_size,
        )
        self.slots = model.config.num_object_slots
        if not hasattr(model, "training_heads"):
            model.training_heads = DenseHeads(vision.hidden_size, aux.hidden_size)

    def batch(self, step: int) -> dict[str, Any]:
        """Pixels, instructions, dense class / colour / part labels, slot targets."""
        rng = np.random.default_rng([self.seed, step, 2])
        pictures, dense, targets = [], [], []
        for _ in range(self.batch_size):
            draw = self.photo if rng.random() < self.photo_share else self.scene
            image, maps, target = draw(rng)
            if rng.random() < self.recolour:
                image = permute_channels(image, rng)
                maps, target = (maps[0], np.full_like(maps[1], IGNORED), maps[2]), target.without_colours()
            pictures.append(jitter(image, rng))
            dense.append(np.stack(maps))
            targets.append(target)
        stacked = np.stack(pictures)
        chosen = rng.integers(len(self.instructions[0]), size=self.batch_size)
        return {
            "pixel_values": normalise(stacked, "pixel_values"),
            "pixel_values_aux": normalise(stacked, "pixel_values_aux"),
            "qformer_input_ids": self.instructions[0][chosen],
            "qformer_attention_mask": self.instructions[1][chosen],
            "dense": torch.from_numpy(np.stack(dense)),
            "slots": stack_targets(targets),
        }

    def scene(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], tuple[NDArray[np.int64], ...], SlotTargets]:
        """Picture, (class, colour, part) maps at full size, slot targets."""
        i, (image, objects, parts), mirrored = self.scenes.draw(rng, self.size)
        things = self.scenes.objects[i]
        return image, scene_maps(things, objects, parts), scene_targets(things, self.slots, mirrored)

    def photo(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], tuple[NDArray[np.int64], ...], SlotTargets]:
        """The same for a photograph seen a little differently; labels have no parts."""
        assert self.photos is not None
        i = int(rng.integers(len(self.photos)))
        image, labels = warp(self.photos.images[i], self.photos.label_maps[i], self.size, rng)
        facts = self.photos.records[i].facts
        return image, photo_maps(facts, labels), photo_targets(facts, labels, self.slots)

    def loss(self, model: MiniModel, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """Dense cross-entropies of both towers plus the slot losses."""
        clip, dino = model.encode_towers(batch["pixel_values"], batch["pixel_values_aux"])
        # Slots start as noise; their gradient would drown the patch labels' in the towers.
        visual = model.encode_images(
            [1] * len(clip),
            batch["qformer_input_ids"],
            batch["qformer_attention_mask"],
            vision_features=clip.detach(),
            aux_features=dino.detach(),
        )
        prefix = 1 + model.config.aux_vision_config.num_register_tokens
        terms = self.dense_terms(model.training_heads, clip[:, 1:], dino[:, prefix:], batch["dense"])
        assert model.slot_heads is not None
        slots, readings = slot_losses(
            model.slot_heads,
            visual.queries,
            batch["slots"],
            silent_photos=model.label_reader is not None,
        )
        loss = sum(terms.values(), start=torch.zeros(())) + slots
        return loss, {k: float(v.detach()) for k, v in terms.items()} | readings

    def dense_terms(
        self, heads: DenseHeads, cells: Tensor, patches: Tensor, dense: Tensor
    ) -> dict[str, Tensor]:
        """What is at the centre of every patch of CLIP (`cells`) and of DINOv2 (`patches`)."""
        at_patches, at_cells = centres(dense, self.dino_grid), centres(dense, self.clip_grid)
        return {
            "dino_class": cross_entropy(heads.dino_classes(patches), at_patches[:, 0]),
            "dino_colour": cross_entropy(heads.dino_colours(patches), at_patches[:, 1]),
            "dino_part": cross_entropy(heads.dino_parts(patches), at_patches[:, 2]),
            "clip_class": cross_entropy(heads.clip_classes(cells), at_cells[:, 0]),
            "clip_colour": cross_entropy(heads.clip_colours(cells), at_cells[:, 1]),
        }
