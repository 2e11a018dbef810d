"""Stage "finetune": any grounded model learns from records `gconv/1`, drawn from a mixture of sources."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue import masks
from segue.errors import ImageError, InputError, RecordError
from segue.images import load_image
from segue.inference.visualize import resize_mask
from segue.mini.code_prompts import CodePrompts, draw_code_prompts, seg_codes
from segue.mini.name_presence import NamePresence
from segue.models.losses import target_weight
from segue.models.mask_objective import MaskLabels
from segue.models.processing_grounded import GroundedProcessor
from segue.models.segmenter import MaskPrompts
from segue.records import Conversation, grounded_markup
from segue.training.engine.accumulation import WHOLE, Share
from segue.training.finetune.feature_store import ModelFeatures
from segue.training.finetune.image_cache import PictureCache
from segue.training.finetune.mixture import Drawn, Mixture
from segue.training.finetune.skips import Skip, SkipJournal
from segue.training.views import View, draw_views

BUCKET = 8
"""Batches that are drawn together and sorted by images and length, so that little is padded."""

MOST_ATTEMPTS = 20
"""Draws for one place of a batch before the data are called unusable."""

Turns = list[tuple[str, str]]
Targets = list[tuple[int, list[str]]]
"""For each `[SEG]` in text order: the image and the rids whose union is the mask."""


@dataclass
class Example:
    """A draw that fits the model's context, its images not opened yet.

    Attributes:
        step, place, attempt: What it was drawn for.
        drawn: The conversation.
        item: Ids and labels.
        targets: Of all its answers.
        cut: Exchanges that were left out at the end because the context is full.
        skipped: Earlier draws for this place that could not be used.
    """

    step: int
    place: int
    attempt: int
    drawn: Drawn
    item: dict[str, list[int]]
    targets: Targets
    cut: int = 0
    skipped: list[Skip] = field(default_factory=list)

    @property
    def length(self) -> tuple[int, int]:
        """What batches are sorted by: number of images, then tokens."""
        return len(self.drawn.conversation.images), len(self.item["input_ids"])


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
        prompt_width: Of SAM's prompts; needed for codes.
        code_prompts: Regions of each image that the decoder is also asked for by the code of their phrase.
        distillation: Weight of the squared distance between a `[SEG]` prompt and the code of its region.
        names: Which names of the data the model's object slots read; None where it has none.
        name_presence: Weight of the loss of these readings.
        views: Show images a little differently each time, see `segue.training.views`; not with `features`.

    Source: paper silent; ours.
    """

    def __init__(
        self,
        processor: GroundedProcessor,
        mixture: Mixture,
        *,
        max_tokens: int,
        trainable: tuple[str, ...] = (),
        batch_size: int = 8,
        longest_side: int | None = None,
        features: ModelFeatures | None = None,
        journal: SkipJournal | None = None,
        dialect: str | None = None,
        prompt_width: int = 0,
        code_prompts: int = 0,
        distillation: float = 0.0,
        names: NamePresence | None = None,
        name_presence: float = 0.0,
        views: bool = False,
    ) -> None:
        self.processor, self.mixture, self.max_tokens = processor, mixture, max_tokens
        self.width, self.code_prompts, self.distillation = prompt_width, code_prompts, distillation
        self.names, self.name_presence = names if name_presence else None, name_presence
        self.trainable, self.batch_size = trainable, batch_size
        self.dialect: str = dialect or processor.dialect
        self.longest_side = longest_side or 4 * processor.sam_stream.size
        self.features, self.views = features, views and features is None
        self.journal = journal or SkipJournal(None)
        self.opened = PictureCache()
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
        asked = [item.pop("code_prompts") for item in items] if self.code_prompts else []
        codes = [item.pop("codes") for item in items] if self.distillation else []
        shown = [item.pop("shown") for item in items] if self.names else []
        batch = dict(self.processor.collate(items))
        if asked:
            batch["code_prompts"] = CodePrompts.join(asked)
        if codes:
            batch["codes"] = torch.cat(codes)
        if shown:
            batch["shown"] = torch.cat(shown)
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
        drawn.sort(key=lambda example: example.length)
        batches = [drawn[i : i + self.batch_size] for i in range(0, len(drawn), self.batch_size)]
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
        turns: Turns = []
        targets: list[Targets] = []
        for index, turn in enumerate(conversation.turns):
            if turn.role == "assistant":
                markup, answered = grounded_markup(conversation, index, self.dialect)
                turns.append(("assistant", markup))
                targets.append(answered)
            elif turn.role == "user":
                wordings = [turn.text, *turn.alternatives]
                turns.append(("user", wordings[int(rng.integers(len(wordings)))]))
        cut = 0
        while True:
            item = self.processor.encode_turns(turns, len(conversation.images))
            if len(item["input_ids"]) <= self.max_tokens:
                return item, [target for answered in targets[: _answers(turns)] for target in answered], cut
            questions = [k for k, (role, _) in enumerate(turns) if role == "user"]
            if len(questions) < 2:
                raise RecordError(
                    "A conversation does not fit the model's context.",
                    expected=f"at most {self.max_tokens} tokens of images, question and answer",
                    found=f"{len(item['input_ids'])}",
                    where=f"conversation {conversation.id!r}",
                    fix="show fewer images, or write shorter answers",
                )
            turns, cut = turns[: questions[-1]], cut + 1

    def open(self, example: Example) -> dict[str, Any]:
        """Ids, labels, pixels (or kept features) and masks of one conversation.

        Raises:
            ImageError: An image cannot be opened. RecordError: a mask is not there, or of another size.
        """
        conversation, root = example.drawn.conversation, example.drawn.root
        pictures = [self.picture(root / image.path) for image in conversation.images]
        hws = [picture["hw"] for picture in pictures]
        draw = [self.mixture.seed, example.step, example.place, example.attempt]
        for image, hw in zip(conversation.images, hws, strict=True):
            if image.height and image.width and (image.height, image.width) != hw:
                raise _another_size(conversation, image.path, (image.height, image.width), hw)
        views = draw_views(conversation, hws, np.random.default_rng([*draw, 3])) if self.views else None
        item: dict[str, Any] = dict(example.item)
        item["num_images"] = len(pictures)
        item["mask_labels"] = self.mask_labels(conversation, example.targets, hws, views)
        item["seg_image_index"] = [image_index for image_index, _ in example.targets]
        item["original_hw"] = torch.tensor([self.target_hw(hw) for hw in hws])
        item["resized_hw"] = torch.tensor([self.processor.sam_stream.resized_hw(hw) for hw in hws])
        if self.distillation:
            item["codes"] = seg_codes(conversation, example.targets, self.width)
        if self.code_prompts:
            sizes = [self.target_hw(hw) for hw in hws]
            item["code_prompts"] = draw_code_prompts(
                conversation, sizes, self.code_prompts, self.width, np.random.default_rng([*draw, 2]), views
            )
        if self.names is not None:
            item["shown"] = self.names.targets(conversation, self.mixture.sources[example.drawn.source])
        if self.features is not None:
            item["pictures"] = pictures
        else:
            streams = self.streams(pictures, views)
            item |= {name: torch.cat([stream[name] for stream in streams]) for name in streams[0]}
        return item

    def picture(self, path: Path) -> dict[str, Any]:
        """One image: `hw`, and its pixel `streams` (itself for views of it), or its `key` and features."""
        key = None
        if self.features is not None:
            key = self.features.key(path)
            stored = self.features.read(key)
            if stored is not None:
                return {"key": key, "hw": stored.hw, "features": stored.tensors}
        picture = self.opened.get(path)
        if picture is None:
            image = load_image(path)
            picture = {"hw": (image.height, image.width)}
            picture |= {"image": image} if self.views else {"streams": self.processor.encode_pixels([image])}
            if self.features is None:
                self.opened.put(path, picture)
        return picture | {"key": key}

    def streams(self, pictures: list[dict[str, Any]], views: list[View] | None) -> list[dict[str, Tensor]]:
        """The pixel streams of images, as they are or as they are seen."""
        if views is None:
            return [picture["streams"] for picture in pictures]
        seen = [view.image(picture["image"]) for view, picture in zip(views, pictures, strict=True)]
        return [self.processor.encode_pixels([image]) for image in seen]

    def target_hw(self, hw: tuple[int, int]) -> tuple[int, int]:
        """The size at which masks are compared: the photograph's, up to `longest_side`."""
        scale = min(1.0, self.longest_side / max(hw))
        return max(1, round(hw[0] * scale)), max(1, round(hw[1] * scale))

    def mask_labels(
        self,
        conversation: Conversation,
        targets: Targets,
        hws: list[tuple[int, int]],
        views: list[View] | None = None,
    ) -> list[Tensor]:
        """For each image `[K, H, W]` bool: its `[SEG]`' masks in text order, at `target_hw`, as seen."""
        stacks: list[list[np.ndarray]] = [[] for _ in hws]
        for image_index, rids in targets:
            parts = []
            for rid in rids:
                rle = conversation.mask_of(rid, "train on")
                if tuple(rle["size"]) != hws[image_index]:
                    path = conversation.images[image_index].path
                    raise _another_size(conversation, path, tuple(rle["size"]), hws[image_index])
                parts.append(masks.decode(rle))
            whole = resize_mask(masks.union(parts), self.target_hw(hws[image_index]))
            stacks[image_index].append(views[image_index].mask(whole) if views is not None else whole)
        return [
            torch.from_numpy(np.stack(stack))
            if stack
            else torch.zeros((0, *self.target_hw(hw)), dtype=torch.bool)
            for stack, hw in zip(stacks, hws, strict=True)
        ]

    # ---- loss, in the training process -----------------------------------------------------------------

    def counts(self, batch: dict[str, Any]) -> dict[str, float]:
        """What the terms of the loss are means over: labelled tokens, masks, regions asked for by code."""
        counts = {
            "text": target_weight(batch["labels"]),
            "masks": float(sum(len(m) for m in batch["mask_labels"])),
        }
        if "code_prompts" in batch:
            counts["code_prompts"] = float(len(batch["code_prompts"].codes))
        if "shown" in batch:
            counts["shown"] = float((batch["shown"] >= 0).sum())
        return counts

    def loss(
        self, model: Any, batch: dict[str, Any], totals: dict[str, float] | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Text, Dice and pixel loss; the readings count what the batch skipped and cut.

        Args:
            totals: `counts` of the whole step when the batch is a share of it; its own when None.

        Raises:
            InputError: Too many of the images seen so far could not be used.
        """
        notes = batch.pop("notes")
        self.journal.take(notes["skipped"], notes["seen"])
        if self.features is not None:
            batch |= self.features.assemble(batch.pop("pictures"))
        asked, codes = batch.pop("code_prompts", None), batch.pop("codes", None)
        shown = batch.pop("shown", None)
        if asked is not None and "pixel_values_sam" in batch:
            # Encoded here, once for the model's own prompts and for the codes.
            batch["segmenter_features"] = model.segmenter.encode(batch.pop("pixel_values_sam"))
        output = model(**batch, loss_totals=totals)
        readings = {name: float(term) for name, term in output.loss_terms.items()}
        loss = output.loss
        if codes is not None:
            masks_in_step = totals["masks"] if totals else len(codes)
            distance = (output.seg_prompts - codes.to(output.seg_prompts)).square().sum()
            distance = distance / max(masks_in_step * codes.shape[1], 1)
            loss, readings["seg"] = loss + self.distillation * distance, float(distance.detach())
        if shown is not None and self.names is not None:
            total = max(totals["shown"], 1.0) if totals else None
            off = self.names.loss(model, output.visual.queries, shown, total)
            loss, readings["names"] = loss + self.name_presence * off, float(off.detach())
        if asked is not None:
            drawn, terms = self.code_loss(model, batch, asked, totals)
            loss, readings = loss + drawn, readings | terms
        return loss, readings | {"skipped": float(len(notes["skipped"])), "cut": float(notes["cut"])}

    def code_loss(
        self, model: Any, batch: dict[str, Any], asked: CodePrompts, totals: dict[str, float] | None
    ) -> tuple[Tensor, dict[str, float]]:
        """The model's own mask loss on the regions that were asked for by code."""
        features, device = batch["segmenter_features"], batch["input_ids"].device
        index = asked.image_index.to(device)
        codes = asked.codes.to(device, next(iter(features.values())).dtype)
        logits = model.segmenter.decode(features, MaskPrompts(codes, index))
        wanted = MaskLabels(
            [mask.to(device) for mask in asked.masks],
            index,
            batch["original_hw"],
            batch["resized_hw"],
            totals["code_prompts"] if totals else None,
        )
        terms = model.mask_terms(logits, wanted)
        return model.weigh(terms), {f"code_{name}": float(term.detach()) for name, term in terms.items()}


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
