"""Stage "finetune": any grounded model learns from records `gconv/1`, drawn from a mixture of sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue import masks
from segue.errors import ImageError, InputError, RecordError
from segue.images import load_image
from segue.masks import resize_mask
from segue.models.losses import target_weight
from segue.models.processing_grounded import GroundedProcessor
from segue.models.region_tokens import record_grids
from segue.records import Conversation, write_dialogue
from segue.records.dialogue_text import Targets, Turns
from segue.training.engine.accumulation import WHOLE, Share
from segue.training.finetune.example import Example
from segue.training.finetune.feature_store import FeatureStore
from segue.training.finetune.image_cache import ImageCache
from segue.training.finetune.mixture import Mixture
from segue.training.finetune.skips import Skip, SkipJournal

BUCKET = 8
"""Batches that are drawn together and sorted by images and length, so that little is padded."""

MOST_ATTEMPTS = 20
"""Draws for one place of a batch before the data are called unusable."""

GIVEN = frozenset({"max_tokens", "trainable", "features", "journal", "dialect", "points", "memory"})
"""Arguments of the objective that follow from the run; options of a recipe do not name them."""


class RecordsObjective:
    """Batches of conversations with their images and masks; text, Dice and pixel loss of the model's forward.

    A conversation whose images or masks cannot be used is replaced by the next draw for its place and noted
    in `skipped.jsonl`; one that is longer than the context loses its last exchanges (reading `cut`).

    Args:
        processor: The model's own.
        mixture: What is drawn from.
        max_tokens: The language model's context.
        trainable: Names or prefixes of what trains, for the protocol of objectives.
        batch_size: Conversations a step.
        longest_side: Masks of larger photographs are brought to this many pixels before the loss; four
            times the side of the decoder's square input by default, where nothing is lost.
        features: Kept outputs of the encoders; None runs the encoders in every step.
        journal: Where skipped draws are noted.
        dialect: How the model writes its answers; the processor's by default.
        points: The model reads regions that questions speak of; otherwise their words alone are read.
        memory: Each later question also speaks of the record's masks of the answer before it.

    Source: paper silent; ours.
    """

    loss_terms = frozenset({"text", "dice", "pixel"})

    def __init__(
        self,
        processor: GroundedProcessor,
        mixture: Mixture,
        *,
        max_tokens: int,
        trainable: tuple[str, ...] = (),
        batch_size: int = 8,
        longest_side: int | None = None,
        features: FeatureStore | None = None,
        journal: SkipJournal | None = None,
        dialect: str | None = None,
        points: bool = False,
        memory: bool = False,
    ) -> None:
        self.processor, self.mixture, self.max_tokens = processor, mixture, max_tokens
        self.trainable, self.batch_size = trainable, batch_size
        self.dialect: str = dialect or processor.dialect
        self.longest_side = longest_side or 4 * processor.sam_stream.size
        self.features = features
        # Memory speaks of masks as regions, which a model that reads none cannot take.
        self.points, self.memory = points, points and memory
        self.journal = journal or SkipJournal(None)
        self.opened = ImageCache()
        self.bucket: tuple[int, list[list[Example]]] = (-1, [])

    # ---- batches, in the workers -----------------------------------------------------------------------

    def batch(self, step: int) -> dict[str, Any]:
        """The collated batch of a step, with `notes` on what was skipped."""
        return self.share(step, WHOLE)

    def share(self, step: int, share: Share) -> dict[str, Any]:
        """The part of a step's batch that one process takes in one go."""
        number, place = divmod(step, BUCKET)
        if self.bucket[0] != number:
            self.bucket = (number, self.draw_bucket(number))
        items, skipped, seen, cut = [], [], [], 0
        for first in share.of(self.bucket[1][place]):
            item, example = self.fill(first)
            items.append(item)
            skipped += example.skipped
            cut += example.cut
            seen += [str(example.drawn.root / image.path) for image in example.drawn.conversation.images]
        pictures = [picture for item in items for picture in item.pop("pictures", [])]
        batch = dict(self.processor.collate(items))
        batch["notes"] = {"skipped": [skip.to_json() for skip in skipped], "seen": seen, "cut": cut}
        if self.features is not None:
            batch["pictures"] = pictures
        return batch

    def draw_bucket(self, number: int) -> list[list[Example]]:
        """`BUCKET` batches of conversations of similar length, in random order."""
        drawn = [
            self.next_example(number * BUCKET + step, place, 0)
            for step in range(BUCKET)
            for place in range(self.batch_size)
        ]
        # Neighbours in length share a batch, so little is padded; the sort is stable, so the same draws are
        # always the same batches.
        drawn.sort(key=lambda example: example.length)
        batches = [drawn[i : i + self.batch_size] for i in range(0, len(drawn), self.batch_size)]
        # Five numbers: no draw of the mixture, which takes four, has this generator.
        order = np.random.default_rng([self.mixture.seed, number, 0, 0, 1]).permutation(len(batches))
        return [batches[i] for i in order]

    def next_example(self, step: int, place: int, attempt: int) -> Example:
        """The first draw for a place, from `attempt` on, that can be written as tokens.

        Raises:
            InputError: None of `MOST_ATTEMPTS` can.
        """
        skipped: list[Skip] = []
        while attempt < MOST_ATTEMPTS:
            drawn = self.mixture.draw(step, place, attempt)
            try:
                item, targets, cut = self.encode(drawn.conversation, drawn.rng)
                return Example(step, place, attempt, drawn, item, targets, cut, skipped)
            except (InputError, RecordError) as error:
                skipped.append(Skip.of(step, place, drawn, error))
            attempt += 1
        raise _nothing_usable(step, skipped)

    def fill(self, example: Example) -> tuple[dict[str, Any], Example]:
        """An item with images and masks, from this example or from the next one that can be opened."""
        while True:
            try:
                return self.open(example), example
            except (ImageError, RecordError) as error:
                skipped = [*example.skipped, Skip.of(example.step, example.place, example.drawn, error)]
                if example.attempt + 1 >= MOST_ATTEMPTS:
                    raise _nothing_usable(example.step, skipped) from None
                example = self.next_example(example.step, example.place, example.attempt + 1)
                example.skipped = skipped + example.skipped

    def encode(
        self, conversation: Conversation, rng: np.random.Generator
    ) -> tuple[dict[str, list[int]], Targets, int]:
        """A conversation as ids and labels, the targets of its `[SEG]`, and how many exchanges were cut.

        Raises:
            RecordError: It cannot be written, or its first exchange alone is longer than the context.
        """
        written = write_dialogue(conversation, self.dialect, rng, points=self.points, memory=self.memory)
        turns, targets, regions = written.turns, written.targets, written.regions
        cut = 0
        hidden = self.processor.hidden_tokens([(image.height, image.width) for image in conversation.images])
        while True:
            asked = sum(role == "user" for role, _ in turns)
            spoken = [region for own in regions[:asked] for region in own] if self.points else []
            marks = self.processor.read_marks(len(spoken))
            item: dict[str, Any] = self.processor.encode_turns(turns, len(conversation.images), **marks)
            length = len(item["input_ids"]) + hidden
            if length <= self.max_tokens:
                if self.points:
                    item["regions"] = spoken
                return item, [target for answered in targets[: _answers(turns)] for target in answered], cut
            questions = [k for k, (role, _) in enumerate(turns) if role == "user"]
            if len(questions) < 2:
                raise RecordError(
                    "A conversation does not fit the model's context.",
                    expected=f"at most {self.max_tokens} tokens of images, question and answer",
                    found=str(length),
                    where=f"conversation {conversation.id!r}",
                    fix="show fewer images, or write shorter answers",
                )
            # From the last question on: no answer stays without its question, no mask without its `[SEG]`.
            turns, cut = turns[: questions[-1]], cut + 1

    def open(self, example: Example) -> dict[str, Any]:
        """Ids, labels, pixels (or kept features) and masks of one conversation.

        Raises:
            ImageError: An image cannot be opened. RecordError: a mask is not there, or of another size.
        """
        conversation, root = example.drawn.conversation, example.drawn.root
        pictures = [self.picture(root / image.path) for image in conversation.images]
        hws = [picture["hw"] for picture in pictures]
        for image, hw in zip(conversation.images, hws, strict=True):
            if image.height and image.width and (image.height, image.width) != hw:
                raise _another_size(conversation, image.path, (image.height, image.width), hw)
        item: dict[str, Any] = dict(example.item)
        item["num_images"] = len(pictures)
        if self.points:
            spoken = item.pop("regions")
            item["region_masks"] = self.region_grids(conversation, spoken, hws)
            item["region_image_index"] = torch.tensor([k for k, _ in spoken], dtype=torch.long)
        item["mask_labels"] = self.mask_labels(conversation, example.targets, hws)
        item["seg_image_index"] = [image_index for image_index, _ in example.targets]
        sizes = [self.target_hw(hw) for hw in hws]
        # The size at which masks are compared, in the photograph's place: logits are enlarged no further.
        item["original_hw"] = torch.tensor(sizes)
        item["resized_hw"] = torch.tensor([self.processor.sam_stream.resized_hw(hw) for hw in hws])
        if self.features is not None:
            item["pictures"] = pictures
        else:
            streams = [picture["streams"] for picture in pictures]
            item |= {name: torch.cat([stream[name] for stream in streams]) for name in streams[0]}
        return item

    def picture(self, path: Path) -> dict[str, Any]:
        """One image: `hw`, and its pixel `streams`, or its `key` and features."""
        key = None
        if self.features is not None:
            key = self.features.key(path)
            stored = self.features.read(key)
            if stored is not None:
                return {"key": key, "hw": stored.hw, "features": stored.tensors}
        picture = self.opened.get(path)
        if picture is None:
            image = load_image(path)
            picture = {"hw": (image.height, image.width), "streams": self.processor.encode_pixels([image])}
            if self.features is None:
                self.opened.put(path, picture)
        return picture | {"key": key}

    def target_hw(self, hw: tuple[int, int]) -> tuple[int, int]:
        """The size at which masks are compared: the photograph's, up to `longest_side`."""
        scale = min(1.0, self.longest_side / max(hw))
        return max(1, round(hw[0] * scale)), max(1, round(hw[1] * scale))

    def region_grids(self, conversation: Conversation, spoken: Targets, hws: list[tuple[int, int]]) -> Tensor:
        """Grids `[R, G, G]` of the regions that the questions speak of, in order."""
        for index, rids in spoken:
            for rid in rids:
                said = tuple(conversation.mask_of(rid, "point at")["size"])
                if said != hws[index]:
                    raise _another_size(conversation, conversation.images[index].path, said, hws[index])
        return record_grids(self.processor, conversation, spoken)

    def mask_labels(
        self, conversation: Conversation, targets: Targets, hws: list[tuple[int, int]]
    ) -> list[Tensor]:
        """For each image `[K, H, W]` bool: its `[SEG]`' masks in text order, at `target_hw`."""
        stacks: list[list[np.ndarray]] = [[] for _ in hws]
        for image_index, rids in targets:
            # All regions of one `[SEG]` are one mask.
            parts = []
            for rid in rids:
                rle = conversation.mask_of(rid, "train on")
                if tuple(rle["size"]) != hws[image_index]:
                    path = conversation.images[image_index].path
                    raise _another_size(conversation, path, tuple(rle["size"]), hws[image_index])
                parts.append(masks.decode(rle))
            stacks[image_index].append(resize_mask(masks.union(parts), self.target_hw(hws[image_index])))
        return [
            torch.from_numpy(np.stack(stack))
            if stack
            else torch.zeros((0, *self.target_hw(hw)), dtype=torch.bool)
            for stack, hw in zip(stacks, hws, strict=True)
        ]

    # ---- loss, in the training process -----------------------------------------------------------------

    def counts(self, batch: dict[str, Any]) -> dict[str, float]:
        """Count what the terms of the loss are means over: labelled tokens and masks."""
        return {
            "text": target_weight(batch["labels"]),
            "masks": float(sum(len(m) for m in batch["mask_labels"])),
        }

    def loss(
        self, model: Any, batch: dict[str, Any], totals: dict[str, float] | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Text, Dice and pixel losses; the readings count what the batch skipped and cut.

        Args:
            totals: `counts` of the whole step when the batch is a share of it; its own when None.

        Raises:
            InputError: Too many of the images seen so far could not be used.
        """
        # Out of the batch, whose other entries are all arguments of the model's forward.
        notes = batch.pop("notes")
        self.journal.take(notes["skipped"], notes["seen"])
        if self.features is not None:
            batch |= self.features.assemble(batch.pop("pictures"))
        output = model(**batch, loss_totals=totals)
        readings = {name: float(term) for name, term in output.loss_terms.items()}
        return output.loss, readings | {"skipped": float(len(notes["skipped"])), "cut": float(notes["cut"])}


def _answers(turns: Turns) -> int:
    return sum(role == "assistant" for role, _ in turns)


def _another_size(
    conversation: Conversation, path: str, said: tuple[int, ...], hw: tuple[int, int]
) -> RecordError:
    return RecordError(
        "An image has another size than its record says.",
        expected=f"(height, width) {tuple(said)}",
        found=str(hw),
        where=f"{path} of conversation {conversation.id!r}",
        fix="restore the image that was annotated",
    )


def _nothing_usable(step: int, skipped: list[Skip]) -> InputError:
    return InputError(
        "The data give nothing that can be trained on.",
        expected=f"a usable conversation among {MOST_ATTEMPTS} draws",
        found=f"none; the last was {skipped[-1].conversation!r}: {skipped[-1].reason}" if skipped else "none",
        where=f"step {step}",
        fix="check the images folder and the report of the data",
    )
