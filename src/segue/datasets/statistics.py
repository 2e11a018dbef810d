"""Statistics of a `gconv/1` file: the numbers of M4SEG's Table 2 and Figure 4, for any file.

An answer is an assistant's turn. Its targets are the different masks that its spans name; a span whose
regions are merged by "union" is one mask. Names of parts count without their object, as in the paper.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segue.data.pointing.exchanges import SAME_INSTANCE
from segue.records import Conversation, Region, Turn


@dataclass
class SplitStatistics:
    """Counts over the conversations of one split.

    Attributes:
        conversations: Number of records.
        answers: Assistant turns; the paper's "QA pairs" where a record has one.
        grounded: Answers with at least one target.
        covering: Answers with a target in each image of their record.
        object_targets, part_targets, other_targets: Different masks per answer, summed, by kind of region.
        mentions: Masks per answer counted as often as they are named, which is the number of `[SEG]`.
        objects, parts, others: How often each name is a target.
        targets: Number of targets of an answer -> number of answers.
        images: Number of images of a record -> number of records.
        image_ids: Different images.
        kinds: What the builders say in `meta` about the kind of question.
        pointing: Questions that point at regions, by kind of region: object, part or region.
        seen_again: Questions that point at something of which another image is the same photograph again.
    """

    conversations: int = 0
    answers: int = 0
    grounded: int = 0
    covering: int = 0
    object_targets: int = 0
    part_targets: int = 0
    other_targets: int = 0
    mentions: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    targets: Counter[int] = field(default_factory=Counter)
    images: Counter[int] = field(default_factory=Counter)
    image_ids: set[str] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)
    pointing: Counter[str] = field(default_factory=Counter)
    seen_again: int = 0

    def add(self, conversation: Conversation) -> None:
        """Count one record."""
        self.conversations += 1
        self.images[len(conversation.images)] += 1
        self.image_ids.update(image.image_id for image in conversation.images)
        for turn in conversation.turns:
            if turn.role == "assistant":
                self._add_answer(conversation, turn)
            elif rids := [rid for span in turn.spans for rid in span.rids]:
                self.pointing[conversation.region(rids[0]).kind] += 1
        notes = [conversation.answer_meta(k) for k in range(len(conversation.assistant_turns()))]
        self.kinds.update(note["kind"] for note in notes if "kind" in note)
        self.seen_again += sum(note.get("template") == SAME_INSTANCE for note in notes)

    def _add_answer(self, conversation: Conversation, turn: Turn) -> None:
        named = [target for span in turn.spans for target in _targets(span.rids, span.merge)]
        different = list(dict.fromkeys(named))
        self.answers += 1
        self.mentions += len(named)
        self.targets[len(different)] += 1
        self.grounded += bool(different)
        seen = set()
        for target in different:
            regions = [conversation.region(rid) for rid in target]
            seen |= {region.image_index for region in regions}
            # A union is counted under the first of its regions.
            kind, name = regions[0].kind, target_name(regions[0], conversation)
            if kind == "object":
                self.object_targets += 1
                self.objects[name] += 1
            elif kind == "part":
                self.part_targets += 1
                self.parts[name] += 1
            else:
                self.other_targets += 1
                self.others[name] += 1
        self.covering += len(seen) == len(conversation.images)

    def mean(self, total: int) -> float:
        """A total per answer; 0 without answers."""
        return total / self.answers if self.answers else 0.0

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON values; frequencies from the highest down."""
        all_targets = self.object_targets + self.part_targets + self.other_targets
        return {
            "conversations": self.conversations,
            "answers": self.answers,
            "answers_with_targets": self.grounded,
            "answers_covering_all_images": self.covering,
            "unique_images": len(self.image_ids),
            "unique_objects": len(self.objects),
            "unique_parts": len(self.parts),
            "unique_other_regions": len(self.others),
            "mean_object_targets": self.mean(self.object_targets),
            "mean_part_targets": self.mean(self.part_targets),
            "mean_targets": self.mean(all_targets),
            "mean_mentions": self.mean(self.mentions),
            "max_targets": max(self.targets, default=0),
            "images_per_conversation": dict(sorted(self.images.items())),
            "targets_per_answer": dict(sorted(self.targets.items())),
            "objects": dict(_sorted(self.objects)),
            "parts": dict(_sorted(self.parts)),
            "other_regions": dict(_sorted(self.others)),
            "kinds": dict(_sorted(self.kinds)),
            **self._pointing(),
        }

    def _pointing(self) -> dict[str, Any]:
        """Questions that point; nothing where there is none, so that such files give what they always did."""
        if not self.pointing:
            return {}
        return {
            "pointing_questions": self.pointing.total(),
            "pointing_at_parts": self.pointing["part"],
            "pointing_seen_again": self.seen_again,
        }


@dataclass
class Statistics:
    """Counts of a file, split by split, and of what a build left out.

    Attributes:
        splits: Counts by split, in order of appearance.
        rejected: Reason -> number of pairs that a build's filters rejected; empty without a build folder.
    """

    splits: dict[str, SplitStatistics] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)

    def add(self, conversation: Conversation) -> None:
        """Count one record."""
        self.splits.setdefault(conversation.split, SplitStatistics()).add(conversation)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        splits = {split: counts.to_json() for split, counts in self.splits.items()}
        return {"splits": splits, "rejected": dict(_sorted(self.rejected))}


def collect(conversations: Iterable[Conversation]) -> Statistics:
    """Count a stream of records; none of them is kept.

    Source: PRIMA Table 2 and Figure 4. Whether the paper counts a mask once or as often as it is named is not
    said; targets are counted once, mentions separately.
    """
    statistics = Statistics()
    for conversation in conversations:
        statistics.add(conversation)
    return statistics


def count_rejected(folder: Path) -> Counter[str]:
    """How many pairs the filters of a build rejected, by filter and reason.

    Args:
        folder: A build's folder; every `rejected*.jsonl` below it is read, one record a line with a `reason`,
            and a `letter` or `filter`.
    """
    counts: Counter[str] = Counter()
    for path in sorted(folder.rglob("rejected*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                try:
                    record = json.loads(line)
                except ValueError:
                    counts["line of rejected.jsonl that is not JSON"] += 1
                    continue
                if isinstance(record, Mapping):
                    letter = record.get("letter") or record.get("filter")
                    reason = str(record.get("reason", "no reason"))
                    counts[f"({letter}) {reason}" if letter else reason] += 1
    return counts


def target_name(region: Region, conversation: Conversation) -> str:
    """The region's name; of a part without its object: "cat's torso" is a torso."""
    if region.kind != "part" or region.parent is None:
        return region.name
    owner = conversation.region(region.parent).name
    # "cat's torso" and "scissors' handle".
    for ending in ("'s ", "' "):
        if region.name.startswith(owner + ending):
            return region.name[len(owner + ending) :]
    return region.name


def _targets(rids: list[str], merge: str | None) -> list[tuple[str, ...]]:
    """The masks of a span, each as the regions that it consists of."""
    if not rids:
        return []
    # Sorted: the union of r1 and r2 is that of r2 and r1.
    return [tuple(sorted(rids))] if merge == "union" else [(rid,) for rid in rids]


def _sorted(counter: Counter[str]) -> list[tuple[str, int]]:
    """The highest first; equal ones by name, so that the same data give the same file."""
    return sorted(counter.items(), key=lambda item: (-item[1], item[0]))
