"""Stage "masks": a phrase's code goes in, its mask must come out; trains SAM's encoder and decoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segue.mini.dense_labels import Maps, PatchHeads, centres, photo_maps, scene_maps
from segue.mini.phrase_codes import phrase_code
from segue.mini.pools import PHOTO_LABELS, PhotoPool, ScenePool
from segue.models.image_streams import normalise
from segue.models.losses import bce_loss, dice_loss, shrink_masks
from segue.models.mini.modeling_mini import MiniModel
from segue.models.segmenter import MaskPrompts
from segue.models.segmenter_sam import EMBEDDINGS
from segue.scenes.kinds import KINDS
from segue.training.augmentation import flip, jitter, pad_square, random_crop, resize_pair

Region = tuple[str, NDArray[np.bool_]]
Picture = tuple[NDArray[np.uint8], list[Region], tuple[int, int], Maps]
"""Pixels, regions, height and width inside the square, dense labels."""


class MaskObjective:
    """Batches of images, each with the same number of phrases and masks.

    Args:
        scenes, photos: image pools; photos may be None.
        batch_size: images a step.
        prompts: phrases an image.
        photo_share: fraction of the images that are photographs.
        dense: weight of the patch labels on the encoder's output, which get the encoder going.
        seed: batch i depends on (seed, i) alone.

    Source: ours; the paper starts from a pretrained SAM instead.
    """

    trainable = (
        "sam.vision_encoder",
        "sam.mask_decoder",
        "sam.prompt_encoder.no_mask_embed",
        "training_heads",
    )

    def __init__(
        self,
        model: MiniModel,
        scenes: ScenePool,
        photos: PhotoPool | None,
        *,
        batch_size: int = 16,
        prompts: int = 4,
        photo_share: float = 0.25,
        dense: float = 0.5,
        seed: int = 0,
    ) -> None:
        self.scenes, self.photos, self.batch_size = scenes, photos, batch_size
        self.prompts, self.photo_share, self.seed = prompts, photo_share if photos else 0.0, seed
        self.size = model.config.sam_config.vision_config.image_size
        self.grid = 4 * self.size // model.config.sam_config.vision_config.patch_size
        self.width = model.config.sam_config.mask_decoder_config.hidden_size
        self.dense = dense
        if not hasattr(model, "training_heads"):
            model.training_heads = PatchHeads(self.width)

    def batch(self, step: int) -> dict[str, Any]:
        """Pixels `[N, 3, S, S]`, codes `[N * P, D]`, masks `[N * P, g, g]` in 0..1."""
        rng = np.random.default_rng([self.seed, step, 1])
        pixels, codes, masks, dense = [], [], [], []
        for _ in range(self.batch_size):
            draw = self.photo if rng.random() < self.photo_share else self.scene
            image, regions, inside, maps = draw(rng)
            pixels.append(jitter(image, rng))
            dense.append(np.stack(maps))
            chosen = rng.choice(len(regions), self.prompts, replace=len(regions) < self.prompts)
            codes += [phrase_code(regions[i][0], self.width) for i in chosen]
            stack = torch.from_numpy(np.stack([regions[i][1][: inside[0], : inside[1]] for i in chosen]))
            masks.append(shrink_masks(stack, inside, self.grid, self.size))
        return {
            "pixels": normalise(np.stack(pixels), "pixel_values_sam"),
            "codes": torch.from_numpy(np.stack(codes)),
            "masks": torch.cat(masks),
            "dense": centres(torch.from_numpy(np.stack(dense)), self.grid // 4),
        }

    def scene(self, rng: np.random.Generator) -> Picture:
        """A scene with the regions of all its objects and parts."""
        i, (image, objects, parts), _ = self.scenes.draw(rng, self.size)
        regions: list[Region] = []
        for k, thing in enumerate(self.scenes.objects[i]):
            whole = objects == k + 1
            regions.append((thing.phrase, whole))
            names = KINDS[thing.kind].parts
            regions += [(thing.part_phrase(p), whole & (parts == names.index(p) + 1)) for p in thing.parts]
        return image, regions, (self.size, self.size), scene_maps(self.scenes.objects[i], objects, parts)

    def photo(self, rng: np.random.Generator) -> Picture:
        """A cropped photograph with the regions of its labels."""
        assert self.photos is not None
        i = int(rng.integers(len(self.photos)))
        image, labels = random_crop(self.photos.images[i], self.photos.label_maps[i], rng)
        if rng.random() < 0.5:
            image, labels = flip(image, labels)
        scale = self.size / max(labels.shape)
        inside = (max(1, round(labels.shape[0] * scale)), max(1, round(labels.shape[1] * scale)))
        image, labels = resize_pair(np.ascontiguousarray(image), np.ascontiguousarray(labels), inside)
        image, labels = pad_square(image, self.size), pad_square(labels, self.size)
        found = [
            PHOTO_LABELS[k - 1] for k in np.flatnonzero(np.bincount(labels.ravel(), minlength=2) > 20) if k
        ]
        names = ["person", *(n for n in found if n != "person")]
        regions = [(name, self.photos.mask(labels, name)) for name in names]
        return image, regions, inside, photo_maps(self.photos.records[i].facts, labels)

    def loss(self, model: MiniModel, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """Dice + 4 BCE, means over masks, plus the patch labels; also the mean IoU on the decoder's grid."""
        features = model.segmenter.encode(batch["pixels"])
        embeddings = features[EMBEDDINGS]
        index = torch.arange(len(batch["pixels"])).repeat_interleave(self.prompts)
        logits = model.segmenter.decode(features, MaskPrompts(batch["codes"], index))
        dice, bce = dice_loss(logits, batch["masks"]).mean(), bce_loss(logits, batch["masks"]).mean()
        with torch.no_grad():
            found, wanted = logits > 0, batch["masks"] > 0.5
            iou = (
                (found & wanted).flatten(1).sum(1) / (found | wanted).flatten(1).sum(1).clamp(min=1)
            ).mean()
        patches = model.training_heads.loss(embeddings.flatten(2).transpose(1, 2), batch["dense"])
        readings = {"dice": dice, "bce": bce, "iou": iou, "patches": patches}
        return dice + 4 * bce + self.dense * patches, {k: float(v.detach()) for k, v in readings.items()}
