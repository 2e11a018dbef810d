"""Stage "conversation": the language model learns to answer with phrases, images and mask prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from segue.errors import AlignmentError
from segue.models.modeling_prima import PrimaModel
from segue.models.processing_grounded import GroundedProcessor
from segue.training.augmentation import flip, pad_square, random_crop, resize_pair
from segue.training.dialogues import Dialogue, draw_dialogue
from segue.training.features import cache_features
from segue.training.phrase_codes import phrase_code
from segue.training.pools import PhotoPool, ScenePool
from segue.training.slots import photo_targets, scene_targets, slot_losses, stack_targets
from segue.training.streams import normalise
from segue.training.vocabulary import COLOUR_INDEX, PARTS, SLOT_CLASSES

BUCKET = 8
"""Batches that are drawn together and sorted by length, so that little is padded."""


class ConversationObjective:
    """Batches of dialogues over one to three images; towers are frozen and their features cached.

    Args:
        cache: folder of the feature cache.
        scene_count: how many scenes of the pool take part.
        photo_views: crops of each photograph that take part.
        name_weight: weight of the tokens of names (kinds, colours, labels, parts) in the text loss.
        distillation: weight of the squared distance between a `[SEG]` prompt and its phrase's code.
        slots: weight of the slot losses.
        masks: train through SAM's decoder with the real mask loss (the joint tune).

    Source: ours; what each option does is in `facts` of the model card.
    """

    def __init__(self, model: PrimaModel, processor: GroundedProcessor, scenes: ScenePool, photos: PhotoPool | None,
                 *, cache: Path, batch_size: int = 32, photo_share: float = 0.3, scene_count: int = 8192,
                 photo_views: int = 6, name_weight: float = 2.0, distillation: float = 1.0, slots: float = 0.5,
                 masks: bool = False, seed: int = 0) -> None:
        self.processor, self.batch_size, self.photo_share, self.seed = processor, batch_size, photo_share, seed
        self.scenes, self.photos, self.photo_views = scenes.subset(scene_count), photos, photo_views
        self.distillation, self.slots, self.masks = distillation, slots, masks
        self.size = model.config.vision_config.image_size
        self.num_slots = model.config.num_object_slots
        self.width = model.config.sam_config.mask_decoder_config.hidden_size
        self.token_weights = name_weights(processor, name_weight)
        self.features = {"scenes": cache_features(model, cache, "scenes", len(self.scenes), self.scene_picture)}
        if photos is not None:
            self.features["photos"] = cache_features(model, cache, "photos", len(photos) * photo_views,
                                                     lambda i: self.photo_view(i)[0])
        self.trainable = ("fusion", "reader", "image_projection", "slot_heads", "language_model", "seg_projection",
                          *(("sam.mask_decoder",) if masks else ()))
        self.bucket: tuple[int, list[list[tuple[Dialogue, dict[str, Any]]]]] = (-1, [])

    def scene_picture(self, index: int, size: int | None = None) -> NDArray[np.uint8]:
        """A scene at `size` (the towers' by default)."""
        image, wanted = np.asarray(self.scenes.images[index]), size or self.size
        if image.shape[0] != wanted:
            image, _ = resize_pair(image, image[..., 0], (wanted, wanted))
        return image

    def photo_crop(self, view: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """View v is a fixed crop (the first of a photograph all of it), with its labels."""
        assert self.photos is not None
        index, number = divmod(view, self.photo_views)
        rng = np.random.default_rng([self.seed, view, 3])
        image, labels = self.photos.images[index], self.photos.label_maps[index]
        if number:
            image, labels = random_crop(image, labels, rng, least=0.85)
            if rng.random() < 0.5:
                image, labels = flip(image, labels)
        return np.ascontiguousarray(image), np.ascontiguousarray(labels)

    def photo_view(self, view: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The crop squeezed to the towers' square."""
        return resize_pair(*self.photo_crop(view), (self.size, self.size))

    def batch(self, step: int) -> dict[str, Any]:
        """A collated batch with features, codes and slot targets (and pixels and masks in the joint tune)."""
        number, place = divmod(step, BUCKET)
        if self.bucket[0] != number:
            self.bucket = (number, self.draw_bucket(number))
        chosen = self.bucket[1][place]
        rng = np.random.default_rng([self.seed, step, 5])
        items, codes, targets = [], [], []
        for dialogue, encoded in chosen:
            views = self.views(dialogue, rng)
            vision, aux = self.features[dialogue.source](views)
            item = encoded | {"vision_features": vision, "aux_features": aux, "num_images": len(views)}
            if self.masks:
                item |= self.mask_inputs(dialogue, views)
            items.append(item)
            codes += [phrase_code(m.phrase, self.width) for m in dialogue.mentions]
            targets += self.slot_targets(dialogue, views)
        batch = dict(self.processor.collate(items))
        batch["codes"] = torch.from_numpy(np.stack(codes)) if codes else torch.zeros((0, self.width))
        batch["slots"] = stack_targets(targets)
        return batch

    def draw_bucket(self, number: int) -> list[list[tuple[Dialogue, dict[str, Any]]]]:
        """`BUCKET` batches of dialogues of similar length, in random order."""
        rng = np.random.default_rng([self.seed, number, 4])
        drawn = [draw_dialogue(self.scenes, self.photos, self.photo_share, rng)
                 for _ in range(BUCKET * self.batch_size)]
        encoded = [(d, self.processor.encode_turns(d.turns, len(d.images))) for d in drawn]
        encoded.sort(key=lambda pair: len(pair[1]["input_ids"]))
        batches = [encoded[i : i + self.batch_size] for i in range(0, len(encoded), self.batch_size)]
        return [batches[i] for i in rng.permutation(len(batches))]

    def views(self, dialogue: Dialogue, rng: np.random.Generator) -> list[int]:
        """Positions in the feature cache."""
        if dialogue.source == "scenes":
            return dialogue.images
        return [i * self.photo_views + int(rng.integers(self.photo_views)) for i in dialogue.images]

    def slot_targets(self, dialogue: Dialogue, views: list[int]) -> list[Any]:
        """One `SlotTargets` per image."""
        if dialogue.source == "scenes" or self.photos is None:
            return [scene_targets(self.scenes.objects[i], self.num_slots) for i in views]
        return [photo_targets(self.photos.records[i // self.photo_views].facts, None, self.num_slots) for i in views]

    def mask_inputs(self, dialogue: Dialogue, views: list[int]) -> dict[str, Any]:
        """SAM's pixels and the masks of every mention, grouped by image in text order."""
        side = self.processor.sam_stream.size
        pictures, masks, inside = [], [], []
        for k, view in enumerate(views):
            mentions = [m for m in dialogue.mentions if m.image_index == k]
            if dialogue.source == "scenes":
                picture = self.scene_picture(view, side)
                stack = [self.scenes.mask(view, m.object_index or 0, m.part) for m in mentions]
                hw = (side, side)
            else:
                image, labels = self.photo_crop(view)
                hw = self.processor.sam_stream.resized_hw((labels.shape[0], labels.shape[1]))
                image, labels = resize_pair(image, labels, hw)
                picture = pad_square(image, side)
                stack = [self.photos.mask(labels, m.phrase) for m in mentions]  # type: ignore[union-attr]
            pictures.append(picture)
            masks.append(torch.from_numpy(np.stack(stack)) if stack else torch.zeros((0, *hw), dtype=torch.bool))
            inside.append(hw)
        return {"pixel_values_sam": normalise(np.stack(pictures), "pixel_values_sam"), "mask_labels": masks,
                "resized_hw": torch.tensor(inside), "original_hw": torch.tensor(inside),
                "seg_image_index": [m.image_index for m in dialogue.mentions]}

    def loss(self, model: PrimaModel, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """Text (and mask) loss, distillation of `[SEG]` prompts, slot losses."""
        codes, targets = batch.pop("codes"), batch.pop("slots")
        output = model(**batch, token_weights=self.token_weights)
        if len(codes) != len(output.seg_prompts):
            raise AlignmentError("[SEG] tokens and phrases do not match", expected=f"{len(codes)} phrases",
                                 found=f"{len(output.seg_prompts)} [SEG]", where="ConversationObjective",
                                 fix="one mention per [SEG] of the markup")
        distance = F.mse_loss(output.seg_prompts, codes) if len(codes) else output.seg_prompts.sum() * 0.0
        slots, readings = slot_losses(model.slot_heads, output.visual.queries, targets)
        loss = output.loss + self.distillation * distance + self.slots * slots
        terms = {name: float(term) for name, term in output.loss_terms.items()}
        return loss, terms | {"seg": float(distance.detach())} | readings


def name_weights(processor: GroundedProcessor, weight: float) -> Tensor:
    """`[V]`: `weight` for tokens that begin or continue a name, 1 for all others."""
    weights = torch.ones(len(processor.tokenizer))
    names = {*SLOT_CLASSES, *COLOUR_INDEX, *(p.split(":")[1] for p in PARTS)}
    for name in sorted(names):
        weights[processor.tokenizer(f" {name}", add_special_tokens=False)["input_ids"]] = weight
    return weights
