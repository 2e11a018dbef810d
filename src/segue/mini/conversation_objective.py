"""Stage "conversation": the language model learns to answer with phrases, images and mask prompts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue.errors import AlignmentError
from segue.mini.cached_images import CachedImages
from segue.mini.dialogues import Dialogue, ListingFirst, Mention, draw_dialogue, with_noise
from segue.mini.feature_cache import blur_labels, drop_features
from segue.mini.phrase_codes import phrase_code
from segue.mini.pointing import UNKNOWN, AttentionInputs, PointedStates, pointed_states, pointing_loss
from segue.mini.pools import PhotoPool, ScenePool
from segue.mini.slots import (
    SlotTargets,
    slot_counts,
    slot_losses,
    stack_targets,
)
from segue.mini.vocabulary import NAMES, PHOTO_LABELS
from segue.models.image_streams import normalise
from segue.models.losses import target_weight
from segue.models.mini.modeling_mini import MiniModel
from segue.models.processing_grounded import GroundedProcessor
from segue.protocol import PHRASE_START
from segue.training.augmentation import pad_square, resize_pair
from segue.training.engine.accumulation import WHOLE, Share

BUCKET = 8
"""Batches that are drawn together and sorted by length, so that little is padded."""


def conversation_parts(*, masks: bool, region_alignment: bool) -> tuple[str, ...]:
    """Prefixes of what trains: all that reads and speaks, and the mask decoder where masks are learned."""
    parts = ("fusion", "reader", "image_projection", "slot_heads", "language_model", "seg_projection")
    optional = {"sam.mask_decoder": masks, "region_alignment": region_alignment}
    return (*parts, *(part for part, wanted in optional.items() if wanted))


class ConversationObjective:
    """Batches of dialogues over one to three images; towers are frozen and their features cached.

    Args:
        cache: folder of the feature cache.
        scene_count: how many scenes of the pool take part.
        photo_views: crops of each photograph that take part.
        feature_dropout: share of the towers' outputs that is zeroed.
        name_weight: weight of the tokens of names (kinds, colours, labels, parts) in the text loss.
        distillation: weight of the squared distance between a `[SEG]` prompt and its phrase's code.
        slots: weight of the slot losses.
        masks: train through SAM's decoder with the real mask loss (the joint tune).
        listing_first: fields of `ListingFirst`; none by default.
        turn_shares: probabilities of dialogues about scenes with 1, 2, ... turns; the composer's when empty.
        question_noise: share of questions that are `hurried`.
        pointing: weight of `pointing_loss` over the states that say names; 0 leaves attention alone.
        pointing_ahead: its weight over the states before them.
        pointing_heads: `(layer, head)` of the language model's heads that are shown where to look.
        label_noise: see `blur_labels`; of models that have a label reader.
        photo_swap: share of the photographs whose towers' features are another photograph's: what is worn
            must then be read from what the label reader says.

    Source: ours.
    """

    loss_terms = frozenset({"text", "dice", "pixel", "seg", "pointing_names", "pointing_ahead"})

    def __init__(
        self,
        model: MiniModel,
        processor: GroundedProcessor,
        scenes: ScenePool,
        photos: PhotoPool | None,
        *,
        cache: Path,
        batch_size: int = 32,
        photo_share: float = 0.3,
        scene_count: int = 8192,
        photo_views: int = 6,
        feature_dropout: float = 0.0,
        name_weight: float = 2.0,
        distillation: float = 1.0,
        slots: float = 0.5,
        masks: bool = False,
        listing_first: dict[str, Any] | None = None,
        turn_shares: Sequence[float] = (),
        question_noise: float = 0.0,
        pointing: float = 0.0,
        pointing_ahead: float = 0.0,
        pointing_heads: Sequence[tuple[int, int]] = ((2, 0), (3, 0)),
        label_noise: float = 0.0,
        photo_swap: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.processor, self.batch_size, self.photo_share, self.seed = (
            processor,
            batch_size,
            photo_share,
            seed,
        )
        self.images = CachedImages(
            model, scenes.subset(scene_count), photos, cache=cache, photo_views=photo_views
        )
        self.reads_labels = model.label_reader is not None
        self.turn_shares, self.question_noise = tuple(turn_shares), question_noise
        self.listing_first = ListingFirst(**(listing_first or {}))
        self.pointing = {"names": pointing, "ahead": pointing_ahead}
        self.seen = [AttentionInputs(model, *head) for head in pointing_heads if any(self.pointing.values())]
        self.tokens = (model.config.num_query_tokens, model.config.num_object_slots)
        self.tag_ids = {
            "image_token_id": model.config.image_token_id,
            "phrase_token_id": int(processor.tokenizer.convert_tokens_to_ids(PHRASE_START)),
            "seg_token_id": model.config.seg_token_id,
        }
        self.feature_dropout, self.label_noise, self.photo_swap = feature_dropout, label_noise, photo_swap
        self.distillation, self.slots, self.masks = distillation, slots, masks
        self.width = model.config.sam_config.mask_decoder_config.hidden_size
        self.token_weights = name_weights(processor, name_weight)
        self.trainable = conversation_parts(masks=masks, region_alignment=bool(model.config.region_alignment))
        self.bucket: tuple[int, list[list[tuple[Dialogue, dict[str, Any]]]]] = (-1, [])

    def batch(self, step: int) -> dict[str, Any]:
        """A collated batch with features, codes and slot targets (and pixels and masks in the joint tune)."""
        return self.share(step, WHOLE)

    def share(self, step: int, share: Share) -> dict[str, Any]:
        """The part of a step's batch that one process takes in one go."""
        number, place = divmod(step, BUCKET)
        if self.bucket[0] != number:
            self.bucket = (number, self.draw_bucket(number))
        items, codes, targets, pointed = [], [], [], []
        for k, (dialogue, encoded) in share.of(list(enumerate(self.bucket[1][place]))):
            # A generator for each dialogue: what is drawn for it does not depend on how the batch is shared.
            rng = np.random.default_rng([self.seed, step, 5, k])
            views = self.images.views(dialogue.source, dialogue.images, rng)
            item = encoded | self.features(dialogue.source, views, rng) | {"num_images": len(views)}
            if self.masks:
                item |= self.mask_inputs(dialogue, views)
            items.append(item)
            codes += [phrase_code(m.phrase, self.width) for m in dialogue.mentions]
            targets += self.slot_targets(dialogue, views)
            pointed += [self.visual_places(m) for m in dialogue.mentions]
        batch = dict(self.processor.collate(items))
        batch["codes"] = torch.from_numpy(np.stack(codes)) if codes else torch.zeros((0, self.width))
        batch["slots"] = stack_targets(targets)
        if self.seen:
            batch["pointed"] = dict(zip(self.pointing, self.pointed_states(batch, pointed), strict=True))
        return batch

    def features(self, source: str, views: list[int], rng: np.random.Generator) -> dict[str, Tensor]:
        """Cached features of some views, a little less sure than they are."""
        cached = self.images.features[source]
        found = cached(views)
        if "label_features" in found:
            labels = {"label_features": blur_labels(found["label_features"], self.label_noise, rng)}
            if source == "photos" and self.photo_swap:
                others, swapped = rng.integers(len(cached), size=len(views)), rng.random(len(views))
                found = cached(np.where(swapped < self.photo_swap, others, views).tolist())
            found |= labels
        for name in ("vision_features", "aux_features"):
            found[name] = drop_features(found[name], self.feature_dropout, rng)
        return found

    def pointed_states(
        self, batch: dict[str, Any], places: list[tuple[int, int]]
    ) -> tuple[PointedStates, PointedStates]:
        """States of names and ahead of them; `places` are `visual_places` in text order."""
        return pointed_states(
            batch["input_ids"],
            batch["labels"],
            torch.tensor(places, dtype=torch.long).reshape(-1, 2),
            **self.tag_ids,
        )

    def visual_places(self, mention: Mention) -> tuple[int, int]:
        """First and last + 1 place of a mention's slot among its conversation's visual tokens.

        For photographs, which have no slots, that of its label where a label reader spells it, or all places
        of its image.
        """
        tokens, slots = self.tokens
        first = mention.image_index * tokens
        if mention.object_index is None and self.reads_labels:
            place = first + PHOTO_LABELS.index(mention.phrase)
            return place, place + 1
        if mention.object_index is None:
            return first, first + tokens
        if mention.object_index >= slots:
            return UNKNOWN, UNKNOWN
        place = first + tokens - slots + mention.object_index
        return place, place + 1

    def draw_bucket(self, number: int) -> list[list[tuple[Dialogue, dict[str, Any]]]]:
        """`BUCKET` batches of dialogues of similar length, in random order."""
        rng = np.random.default_rng([self.seed, number, 4])
        listings = self.listing_first.at(number * BUCKET)
        drawn = [
            draw_dialogue(
                self.images.scenes,
                self.images.photos,
                self.photo_share,
                rng,
                listing_share=listings,
                turn_shares=self.turn_shares,
            )
            for _ in range(BUCKET * self.batch_size)
        ]
        if self.question_noise:
            drawn = [with_noise(dialogue, self.question_noise, rng) for dialogue in drawn]
        encoded = [(d, self.processor.encode_turns(d.turns, len(d.images))) for d in drawn]
        encoded.sort(key=lambda pair: len(pair[1]["input_ids"]))
        batches = [encoded[i : i + self.batch_size] for i in range(0, len(encoded), self.batch_size)]
        return [batches[i] for i in rng.permutation(len(batches))]

    def slot_targets(self, dialogue: Dialogue, views: list[int]) -> list[SlotTargets]:
        """What the slots should say; the instruction is the first question: its answer names what it asks."""
        targets = [self.images.slot_targets(dialogue.source, view) for view in views]
        if dialogue.source != "scenes":
            return targets
        asked = [(m.image_index, m.object_index) for m in dialogue.mentions if m.answer == 0]
        return [t.asking({o for i, o in asked if i == k and o is not None}) for k, t in enumerate(targets)]

    def mask_inputs(self, dialogue: Dialogue, views: list[int]) -> dict[str, Any]:
        """SAM's pixels and the masks of every mention, grouped by image in text order."""
        side = self.processor.sam_stream.size
        pictures, masks, inside = [], [], []
        for k, view in enumerate(views):
            mentions = [m for m in dialogue.mentions if m.image_index == k]
            if dialogue.source == "scenes":
                hw = (side, side)
                picture = self.images.scene_picture(view, side)
                stack = [self.images.scenes.mask(view, m.object_index or 0, m.part) for m in mentions]
            else:
                image, labels = self.images.photo_crop(view)
                hw = self.processor.sam_stream.resized_hw((labels.shape[0], labels.shape[1]))
                image, labels = resize_pair(image, labels, hw)
                picture = pad_square(image, side)
                stack = [self.images.photos.mask(labels, m.phrase) for m in mentions]  # type: ignore[union-attr]
            pictures.append(picture)
            masks.append(
                torch.from_numpy(np.stack(stack)) if stack else torch.zeros((0, *hw), dtype=torch.bool)
            )
            inside.append(hw)
        return {
            "pixel_values_sam": normalise(np.stack(pictures), "pixel_values_sam"),
            "mask_labels": masks,
            "resized_hw": torch.tensor(inside),
            "original_hw": torch.tensor(inside),
            "seg_image_index": [m.image_index for m in dialogue.mentions],
        }

    def counts(self, batch: dict[str, Any]) -> dict[str, float]:
        """What the terms of `loss` are means over."""
        counts = {
            "text": target_weight(batch["labels"], self.token_weights),
            "masks": float(sum(len(m) for m in batch.get("mask_labels", []))),
            "codes": float(batch["codes"].numel()),
        }
        for name, states in batch.get("pointed", {}).items():
            counts[name] = float(len(states))
        return counts | slot_counts(batch["slots"], self.reads_labels)

    def loss(
        self, model: MiniModel, batch: dict[str, Any], totals: dict[str, float] | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Text (and mask) loss, distillation of `[SEG]` prompts, slot losses.

        Args:
            totals: `counts` of the whole step when the batch is a share of it; its own when None.
        """
        codes, targets, pointed = batch.pop("codes"), batch.pop("slots"), batch.pop("pointed", None)
        with ExitStack() as watched:
            for seen in self.seen:
                watched.enter_context(seen)
            output = model(**batch, token_weights=self.token_weights, loss_totals=totals)
        if len(codes) != len(output.seg_prompts):
            raise AlignmentError(
                "[SEG] tokens and phrases do not match",
                expected=f"{len(codes)} phrases",
                found=f"{len(output.seg_prompts)} [SEG]",
                where="ConversationObjective",
                fix="one mention per [SEG] of the markup",
            )
        elements = totals["codes"] if totals else codes.numel()
        distance = (output.seg_prompts - codes).square().sum() / max(elements, 1)
        assert model.slot_heads is not None
        visual = output.visual
        slots, readings = slot_losses(
            model.slot_heads,
            visual.queries,
            targets,
            totals,
            visual.extras.get("asked"),
            silent_photos=self.reads_labels,
        )
        loss = output.loss + self.distillation * distance + self.slots * slots
        terms = {name: float(term) for name, term in output.loss_terms.items()}
        heads = [seen.queries_and_keys() for seen in self.seen]
        for name, states in (pointed or {}).items():
            off, right = points(heads, states, totals[name] if totals else None)
            loss = loss + self.pointing[name] * off
            terms |= {f"pointing_{name}": float(off.detach()), f"{name}_right": right}
        return loss, terms | {"seg": float(distance.detach())} | readings


def points(
    heads: Sequence[tuple[Tensor, Tensor]], states: PointedStates, total: float | None
) -> tuple[Tensor, float]:
    """`pointing_loss` summed over the queries and keys of heads; the last one's accuracy."""
    losses, right = [], 0.0
    for queries, keys in heads:
        loss, right = pointing_loss(queries, keys, states, total)
        losses.append(loss)
    return torch.stack(losses).sum(), right


def name_weights(processor: GroundedProcessor, weight: float) -> Tensor:
    """`[V]`: `weight` for tokens that begin or continue a name, 1 for all others."""
    weights = torch.ones(len(processor.tokenizer))
    for name in sorted(NAMES):
        weights[processor.tokenizer(f" {name}", add_special_tokens=False)["input_ids"]] = weight
    return weights
