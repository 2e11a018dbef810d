"""What an answer is held against: one sample for each answer of a record, masks compressed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from segue import masks, protocol
from segue.errors import InputError, SegueError
from segue.masks import RLE
from segue.metrics.matching import GroundedMask
from segue.records import Conversation, grounded_markup

Key = tuple[str, int]
"""Id of the conversation and 1-based number of the answer in it."""


@dataclass(frozen=True)
class Sample:
    """One answer of a record.

    Attributes:
        conversation_id: Of the record.
        turn: 1-based number of the answer in the conversation.
        question: What is asked.
        reference: The record's answer, without tags.
        num_images: Of the conversation.
        targets: The masks that the answer names, one for each `[SEG]` that a perfect model would write. Where
            the record has no masks to score with they are there without, see `problem`.
        labels: Category of each target: the names of its regions.
        levels: Kind of each target: object, part or region.
        ignore: By image, an area that counts neither way.
        num_objects: Objects that the record lists in its images.
        needs_images, kind, level: From the record's meta; None when it says nothing.
        pair, variant: Of HalluSegBench, from the record's meta.
        problem: Why nothing can be scored; empty when it can.
    """

    conversation_id: str
    turn: int
    question: str
    reference: str
    num_images: int
    targets: tuple[GroundedMask, ...]
    labels: tuple[str, ...]
    levels: tuple[str, ...]
    ignore: dict[int, RLE] = field(default_factory=dict)
    num_objects: int = 0
    needs_images: bool | None = None
    kind: str | None = None
    level: str | None = None
    pair: str = ""
    variant: str = ""
    problem: str = ""

    @property
    def key(self) -> Key:
        """What predictions are found by."""
        return self.conversation_id, self.turn


@dataclass(frozen=True)
class Target:
    """A mask that the record's answer names.

    Attributes:
        mark: Phrase, image and mask, the union of the regions.
        rids: Regions that it consists of.
    """

    mark: GroundedMask
    rids: tuple[str, ...]


def targets_of(conversation: Conversation, turn_index: int) -> list[Target]:
    """The masks of one answer, one per `[SEG]` that a perfect model would write.

    Args:
        conversation: The record.
        turn_index: Index of an assistant turn in `conversation.turns`.

    Raises:
        RecordError: A region's mask is not in the file (`mask_ref`, or null), so that nothing can be scored.
    """
    markup, regions = grounded_markup(conversation, turn_index)
    parsed = protocol.parse(markup, len(conversation.images))
    phrases = {g.seg_ordinal: g.phrase for g in parsed.groundings}
    targets = []
    for ordinal, (image_index, rids) in enumerate(regions):
        rle = masks.union_rle([conversation.mask_of(rid, "be scored with") for rid in rids])
        targets.append(Target(GroundedMask(image_index, phrases.get(ordinal, ""), rle), tuple(rids)))
    return targets


def questions_of(conversation: Conversation) -> list[tuple[int, str]]:
    """Index of each assistant turn with the user text before it; system turns are the template's business."""
    pairs: list[tuple[int, str]] = []
    waiting: list[str] = []
    for index, turn in enumerate(conversation.turns):
        if turn.role == "user":
            waiting.append(turn.text)
        elif turn.role == "assistant":
            pairs.append((index, "\n".join(waiting)))
            waiting = []
    return pairs


def samples_of(conversation: Conversation) -> list[Sample]:
    """The samples of one record, in order."""
    ignore: dict[int, list[RLE]] = {}
    for area in conversation.ignore:
        ignore.setdefault(area.image_index, []).append(area.mask)
    common = {
        "conversation_id": conversation.id,
        "num_images": len(conversation.images),
        "ignore": {image: masks.union_rle(rles) for image, rles in ignore.items()},
        "num_objects": sum(region.kind == "object" for region in conversation.regions),
        "pair": str(conversation.meta.get("pair", "")),
        "variant": str(conversation.meta.get("variant", "")),
    }
    found = []
    for number, (turn_index, question) in enumerate(questions_of(conversation)):
        problem = ""
        try:
            targets = targets_of(conversation, turn_index)
        except SegueError as error:
            # The record's own fault; its masks count as missed, one for each that the answer names.
            problem, targets = said(error), _unscorable(conversation, turn_index)
        regions = [[conversation.region(rid) for rid in target.rids] for target in targets]
        noted = conversation.answer_meta(number)
        found.append(
            Sample(
                turn=number + 1,
                question=question,
                reference=conversation.turns[turn_index].text,
                targets=tuple(target.mark for target in targets),
                labels=tuple(" + ".join(sorted({r.name for r in part})) for part in regions),
                levels=tuple(" + ".join(sorted({r.kind for r in part})) for part in regions),
                needs_images=noted.get("needs_images"),
                kind=noted.get("kind"),
                level=noted.get("level"),
                problem=problem,
                **common,  # type: ignore[arg-type]  # the values of one record
            )
        )
    return found


def all_samples(conversations: Iterable[Conversation]) -> list[Sample]:
    """The samples of all records.

    Raises:
        InputError: Two records have one id, so that predictions could not be told apart.
    """
    found: list[Sample] = []
    known: set[str] = set()
    for conversation in conversations:
        if conversation.id in known:
            raise InputError(
                "Two conversations have one id.",
                expected="ids that differ, because predictions are found by them",
                found=repr(conversation.id),
                where="the data file",
                fix="rename one of them, or take it out",
            )
        known.add(conversation.id)
        found += samples_of(conversation)
    return found


def said(error: Exception) -> str:
    """An error in one line: its kind and its words."""
    return f"{type(error).__name__}: " + " ".join(str(error).split())


def _unscorable(conversation: Conversation, turn_index: int) -> list[Target]:
    turn = conversation.turns[turn_index]
    return [
        Target(
            GroundedMask(conversation.region(rid).image_index, turn.text[span.start : span.end], None), (rid,)
        )
        for span in turn.spans
        for rid in span.rids
    ]
