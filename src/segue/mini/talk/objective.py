"""Stage "talk": the language model learns to read findings and to answer with phrases, images and points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segue.errors import AlignmentError
from segue.mini.talk.conversation import Conversation, compose, frequent_names
from segue.mini.talk.kinds import Kinds, known_kinds
from segue.mini.talk.lists import OWNERS
from segue.mini.talk.pointing import AttentionInputs, PointedStates, pointing_loss
from segue.mini.talk.questions import MARKED_SHARE
from segue.mini.talk.told_lists import ToldLists
from segue.models.losses import IGNORE_INDEX, target_weight
from segue.models.mini.findings import MOST_FINDINGS, Finding, listed
from segue.models.mini.point_prompt import point_prompt
from segue.models.mini.spelled_findings import FindingSpeller
from segue.models.mini.talking import TalkingModel, TalkingProcessor
from segue.models.processing_grounded import GroundedProcessor
from segue.training.engine.accumulation import WHOLE, Share

BUCKET = 8
"""Batches that are drawn together and sorted by length, so that little is padded."""


class TalkObjective:
    """Batches of conversations over drawn-up lists of findings.

    Args:
        batch_size: conversations a step.
        name_weight: weight of the tokens of names in the text loss.
        points: weight of the squared distance between a `[SEG]` prompt and the point prompt of what its
            phrase names.
        free_noise: size of the noise that stands in the places of the free tokens.
        simple_until: steps with nothing but simple conversations: a model from nothing that gets the whole
            mix learns to speak long before it looks anything up.
        simple_fade: steps over which their share then falls to nothing.
        pointing: weight of -log attention from the states that name a finding, or are about to, to its token.
        owners: share of conversations about things that have parts.
        frequent: names that are drawn more often; those that photographs show most by default.
        lists: draws the lists of a conversation; None (also where it says so) draws them over all names.
        marked: share of questions that point at a region; none of a model that takes no regions.
        told: file of findings in photographs (`segue.mini.look.tell`), and told_share: of the conversations
            that are not simple, how many are about them.
        pointing_heads: `(layer, head)` of the language model's heads that are shown where to look.

    Source: ours.
    """

    trainable: tuple[str, ...] = ("language_model", "seg_projection")

    def __init__(
        self,
        model: TalkingModel,
        processor: TalkingProcessor,
        kinds: Kinds | None = None,
        *,
        batch_size: int = 32,
        name_weight: float = 3.0,
        points: float = 2.0,
        free_noise: float = 0.05,
        simple_until: int = 0,
        simple_fade: int = 0,
        pointing: float = 0.0,
        pointing_heads: Sequence[tuple[int, int]] = ((2, 0), (3, 0)),
        seed: int = 0,
        owners: float = OWNERS,
        frequent: tuple[str, ...] | None = None,
        lists: Callable[[np.random.Generator], list[list[Finding]] | None] | None = None,
        marked: float = MARKED_SHARE,
        told: str | None = None,
        told_share: float = 0.0,
    ) -> None:
        self.processor, self.kinds = processor, kinds or known_kinds()
        self.batch_size, self.points, self.free_noise, self.seed = batch_size, points, free_noise, seed
        self.simple = (simple_until, simple_fade)
        self.pointing, self.owners = pointing, owners
        self.seen = [AttentionInputs(model, *head) for head in pointing_heads] if pointing else []
        self.width = model.config.sam_config.mask_decoder_config.hidden_size
        self.free = (model.config.num_free_tokens, model.config.text_config.hidden_size)
        self.tags = (model.config.image_token_id, model.config.seg_token_id)
        self.region_token, self.region_width = model.config.region_token_id, model.region_width
        self.marked = marked if self.region_token >= 0 else 0.0
        self.token_weights = name_weights(processor, self.kinds, name_weight)
        self.frequent = frequent_names() if frequent is None else frequent
        self.spell, self.lists = FindingSpeller(processor.tokenizer), lists
        self.told, self.told_share = ToldLists(Path(told), self.kinds) if told else None, told_share
        self.bucket: tuple[int, list[list[dict[str, Any]]]] = (-1, [])

    def batch(self, step: int) -> dict[str, Any]:
        """Ids, labels, findings and the point prompt of every `[SEG]`."""
        return self.share(step, WHOLE)

    def share(self, step: int, share: Share) -> dict[str, Any]:
        """The part of a step's batch that one process takes in one go."""
        number, place = divmod(step, BUCKET)
        if self.bucket[0] != number:
            self.bucket = (number, self.draw_bucket(number))
        items = share.of(self.bucket[1][place])
        batch = dict(self.processor.collate([i["encoded"] for i in items]))
        batch["points"] = torch.cat([i["points"] for i in items])
        if self.region_token >= 0:
            batch["region_features"] = torch.cat([i["regions"] for i in items])
        if self.seen:
            batch["pointed"] = PointedStates()
            for row, item in enumerate(items):
                for columns, token in item["pointed"]:
                    batch["pointed"].add(row, columns, range(token, token + 1))
        noise = torch.Generator().manual_seed(hash((self.seed, step, share.part)) % 2**31)
        shape = (len(batch["finding_ids"]), *self.free)
        batch["free_tokens"] = self.free_noise * torch.randn(shape, generator=noise)
        return batch

    def draw_bucket(self, number: int) -> list[list[dict[str, Any]]]:
        """`BUCKET` batches of conversations of similar length, in random order."""
        rng = np.random.default_rng([self.seed, number, 7])
        until, fade = self.simple
        gone = max(number * BUCKET - until + 1, 0) / (fade + 1)
        share = max(1.0 - gone, 0.0)
        items = []
        for _ in range(BUCKET * self.batch_size):
            simple = bool(rng.random() < share)
            images = self.lists(rng) if self.lists else None
            if self.told is not None and not simple and rng.random() < self.told_share:
                images = self.told(rng)
            drawn = compose(
                self.kinds,
                rng,
                frequent=self.frequent,
                simple=simple,
                images=images,
                owners=self.owners,
                marked=self.marked,
            )
            items.append(self.encoded(drawn, int(rng.integers(3))))
        items.sort(key=lambda item: len(item["encoded"]["input_ids"]))
        batches = [items[i : i + self.batch_size] for i in range(0, len(items), self.batch_size)]
        return [batches[i] for i in rng.permutation(len(batches))]

    def encoded(self, conversation: Conversation, spare: int = 0) -> dict[str, Any]:
        """A conversation as ids, its findings and its points.

        Args:
            spare: places of its lists that stay empty, beside those of the longest; all of them cost time.
        """
        places = min(max(1, *map(len, conversation.images)) + spare, MOST_FINDINGS)
        encoded: dict[str, Any] = dict(
            self.processor.encode_turns(
                conversation.turns, len(conversation.images), tokens_per_image=places + self.free[0]
            )
        )
        order = [listed(image) for image in conversation.images]
        ids = encoded["input_ids"]
        visual, pointed = (
            [c for c, i in enumerate(ids) if i == tag] for tag in (self.tags[0], self.region_token)
        )
        wanted = []
        for k, finding in conversation.wanted:
            marked = [n for n, (_, other) in enumerate(conversation.regions) if other is finding]
            place = k * (places + self.free[0])
            wanted.append(pointed[marked[0]] if marked else visual[place + _place(finding, order[k])])
        return {
            "pointed": pointed_columns(ids, encoded["labels"], wanted, self.tags[1]),
            "encoded": encoded
            | {
                "num_images": len(conversation.images),
                "finding_ids": self.spell(conversation.images, places),
            },
            "points": points_of([finding for _, finding in conversation.wanted], self.width),
            "regions": self.spell.rows([f for _, f in conversation.regions], self.region_width),
        }

    def counts(self, batch: dict[str, Any]) -> dict[str, float]:
        """What the terms of `loss` are means over."""
        counts = {
            "text": target_weight(batch["labels"], self.token_weights),
            "points": float(batch["points"].numel()),
        }
        return counts | ({"pointed": float(len(batch["pointed"]))} if self.seen else {})

    def loss(
        self, model: TalkingModel, batch: dict[str, Any], totals: dict[str, float] | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Text loss and distance of the `[SEG]` prompts from their points.

        Args:
            totals: `counts` of the whole step when the batch is a share of it; its own when None.
        """
        points, pointed = batch.pop("points"), batch.pop("pointed", None)
        with ExitStack() as watched:
            for seen in self.seen:
                watched.enter_context(seen)
            output = model(**batch, token_weights=self.token_weights, loss_totals=totals)
        if len(points) != len(output.seg_prompts):
            raise AlignmentError(
                "[SEG] tokens and findings do not match",
                expected=f"{len(points)} findings",
                found=f"{len(output.seg_prompts)} [SEG]",
                where="TalkObjective",
                fix="one finding per [SEG] of the markup",
            )
        count = totals["points"] if totals else points.numel()
        distance = (output.seg_prompts - points).square().sum() / max(count, 1)
        terms = {name: float(term) for name, term in output.loss_terms.items()}
        loss, terms = output.loss + self.points * distance, terms | {"seg": float(distance.detach())}
        for seen in self.seen:
            off, right = pointing_loss(
                *seen.queries_and_keys(), pointed, totals["pointed"] if totals else None
            )
            loss = loss + self.pointing * off
            terms |= {"pointing_names": float(off.detach()), "names_right": right}
        return loss, terms


def pointed_columns(
    ids: Sequence[int], labels: Sequence[int], wanted: Sequence[int], seg: int
) -> list[tuple[range, int]]:
    """Which states should look at which visual token or marked region: those from one `[SEG]` on to the next.

    Literal, for visual tokens in columns 2 and 3 of which the second is named:

        column   0    1    2        3        4     5          6   7    8    9      10
        token    USER The  <image>  <image>  dog?  ASSISTANT  Yes <p>  dog  </p>   [SEG]
        looks    -    -    -        -        -     3          3   3    3    3      -

    Args:
        ids, labels: of one conversation.
        wanted: for each labelled `[SEG]` the column in which its finding stands.
        seg: id of the tag.
    """
    found: list[tuple[range, int]] = []
    targets, begin = iter(wanted), None
    for column, label in enumerate(labels):
        if label == IGNORE_INDEX:
            begin = None
            continue
        begin = column - 1 if begin is None else begin
        if ids[column] == seg:
            found.append((range(begin, column), next(targets)))
            begin = column
    return found


def _place(finding: Finding, order: Sequence[Finding]) -> int:
    return next(k for k, other in enumerate(order) if other is finding or other == finding)


def points_of(findings: Sequence[Finding], width: int) -> Tensor:
    """Point prompts `[K, D]` of findings."""
    if not findings:
        return torch.zeros((0, width))
    centres = torch.tensor([f.centre_yx for f in findings], dtype=torch.float32)
    return point_prompt(centres, torch.tensor([f.area for f in findings]), width)


def name_weights(processor: GroundedProcessor, kinds: Kinds, weight: float) -> Tensor:
    """`[V]`: `weight` for tokens of names and of images, 1 for all others."""
    weights = torch.ones(len(processor.tokenizer))
    for name in kinds.names:
        thing = kinds.thing(name)
        for word in (thing.phrase(), thing.phrase(2)):
            weights[processor.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]] = weight
    return weights
