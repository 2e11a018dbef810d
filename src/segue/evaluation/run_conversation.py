"""Ask a model the questions of a record, and hold each answer against the record's own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segue import masks, protocol
from segue.errors import RecordError, SegueError
from segue.images import ImageSource
from segue.inference.answer import SessionAnswer
from segue.inference.inputs import MAX_NEW_TOKENS
from segue.inference.loaded_model import LoadedModel
from segue.inference.session import GroundingSession
from segue.metrics import (
    PhraseCounts,
    count_phrases,
    image_id_hits,
    match_phrases,
    overlap,
)
from segue.metrics.text import Key
from segue.records import Conversation, grounded_markup

History = Literal["own", "truth"]
"""What later turns see as the earlier answers: what the model said, or what the record says."""


@dataclass(frozen=True)
class Target:
    """A mask that the record's answer names.

    Attributes:
        phrase: As the answer writes it; empty for a mask without a phrase.
        image_index: 0-based.
        mask: bool `[height, width]`, the union of the span's regions in this image.
    """

    phrase: str
    image_index: int
    mask: np.ndarray

    @property
    def key(self) -> Key:
        """Key by which predictions are matched."""
        return self.image_index, self.phrase


@dataclass(frozen=True)
class TurnResult:
    """One question, scored. A turn that failed has no predictions, so all its targets are missed.

    Attributes:
        conversation_id: Of the record.
        turn: 1-based number of the answer in the conversation.
        num_images: Of the conversation.
        ious: One per target, 0.0 where nothing was matched; empty when masks are not scored.
        overlaps: `(intersection, union)` per target, likewise.
        counts: Phrases right, surplus and missing.
        id_hits: `(right, considered)` of `image_id_hits`.
        num_targets: Masks that the record's answer names.
        seconds: Time that the answer took, masks included.
        needs_images, kind, level: From the record's meta; None when it says nothing.
        failure: Why there is no answer; empty when there is one.
        prediction: The answer as it goes into predictions.jsonl.
    """

    conversation_id: str
    turn: int
    num_images: int
    ious: tuple[float, ...]
    overlaps: tuple[tuple[int, int], ...]
    counts: PhraseCounts
    id_hits: tuple[int, int]
    num_targets: int
    seconds: float
    needs_images: bool | None = None
    kind: str | None = None
    level: str | None = None
    failure: str = ""
    prediction: dict[str, Any] = field(default_factory=dict)


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
        parts = [masks.decode(conversation.mask_of(rid, "be scored with")) for rid in rids]
        targets.append(Target(phrases.get(ordinal, ""), image_index, masks.union(parts)))
    return targets


def run_conversation(
    bundle: LoadedModel,
    conversation: Conversation,
    images: Sequence[ImageSource],
    *,
    history: History = "own",
    score_masks: bool = True,
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> list[TurnResult]:
    """Ask every question of a record in one session; its answers are generated freely.

    A question that fails is scored as an empty answer and is not part of the later questions' history; images
    that cannot be opened fail every question. Nothing is skipped.

    Args:
        bundle: The model.
        conversation: The record.
        images: Sources of the images to show, as many as the record has.
        history: What later questions see of earlier answers.
        score_masks: False where other images are shown on purpose: then only phrases are scored.
        max_new_tokens: Budget of each answer.

    Returns:
        One result per assistant turn.
    """
    turns = _questions(conversation)
    try:
        session = bundle.session(images)
        if score_masks:
            _check_sizes(conversation, session)
    except SegueError as error:
        return [_result(conversation, k, turn, None, _said(error), score_masks, 0.0) for k, (turn, _) in
                enumerate(turns)]  # fmt: skip
    results = []
    for number, (turn_index, question) in enumerate(turns):
        started = time.perf_counter()
        answer, failure = _ask(session, question, max_new_tokens)
        seconds = time.perf_counter() - started
        result = _result(conversation, number, turn_index, answer, failure, score_masks, seconds)
        results.append(result)
        if history == "truth":
            if answer is not None:
                session.undo()
            session.add_turn(question, grounded_markup(conversation, turn_index)[0])
    return results


def _questions(conversation: Conversation) -> list[tuple[int, str]]:
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


def _ask(session: GroundingSession, question: str, max_new_tokens: int) -> tuple[SessionAnswer | None, str]:
    """An answer, or why there is none. Whatever a model does wrong must cost its own sample only."""
    try:
        return session.ask(question, max_new_tokens=max_new_tokens), ""
    except (SegueError, RuntimeError, ValueError, IndexError) as error:
        return None, _said(error)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: " + " ".join(str(error).split())


def _check_sizes(conversation: Conversation, session: GroundingSession) -> None:
    """Masks of another size than the picture would score 0 without anybody noticing why."""
    for image, hw in zip(conversation.images, session.image_hws, strict=True):
        if image.height and image.width and (image.height, image.width) != hw:
            raise RecordError(
                "An image has another size than its record says.",
                expected=f"(height, width) ({image.height}, {image.width})",
                found=str(hw),
                where=f"{image.path} of conversation {conversation.id!r}",
                fix="restore the image that the record was built from, or build the file again",
            )


def _result(
    conversation: Conversation,
    number: int,
    turn_index: int,
    answer: SessionAnswer | None,
    failure: str,
    score_masks: bool,
    seconds: float,
) -> TurnResult:
    try:
        targets = targets_of(conversation, turn_index)
    except SegueError as error:
        # The record's own fault; its masks count as missed as well, one for each that the answer names.
        failure = failure or _said(error)
        answer, targets = None, _unscorable(conversation, turn_index)
    predicted: list[Key] = [(g.image_index, g.phrase) for g in answer.groundings] if answer else []
    truth = [target.key for target in targets]
    overlaps = _overlaps(conversation, answer, predicted, targets) if score_masks else []
    noted = conversation.answer_meta(number)
    return TurnResult(
        conversation_id=conversation.id,
        turn=number + 1,
        num_images=len(conversation.images),
        ious=tuple(inter / union if union else 1.0 for inter, union in overlaps),
        overlaps=tuple(overlaps),
        counts=count_phrases(predicted, truth),
        id_hits=image_id_hits(predicted, truth),
        num_targets=len(targets),
        seconds=seconds,
        needs_images=noted.get("needs_images"),
        kind=noted.get("kind"),
        level=noted.get("level"),
        failure=failure,
        prediction=_prediction(answer, truth, failure, seconds),
    )


def _unscorable(conversation: Conversation, turn_index: int) -> list[Target]:
    turn = conversation.turns[turn_index]
    return [
        Target(turn.text[span.start : span.end], conversation.region(rid).image_index, np.zeros((1, 1), bool))
        for span in turn.spans
        for rid in span.rids
    ]


def _overlaps(
    conversation: Conversation, answer: SessionAnswer | None, predicted: list[Key], targets: list[Target]
) -> list[tuple[int, int]]:
    """`(intersection, union)` of each target with the prediction matched to it; `(0, area)` without one."""
    if answer is None:
        # At least one pixel, so that a missed empty mask is not two empty masks that agree.
        return [(0, max(1, int(target.mask.sum()))) for target in targets]
    groundings = answer.groundings
    ignored = _ignored(conversation)

    @cache
    def pair(i: int, j: int) -> tuple[int, int]:
        mask, target = groundings[i].mask, targets[j]
        return overlap(mask, target.mask, ignored.get(target.image_index))

    def score(i: int, j: int) -> float:
        intersection, union = pair(i, j)
        return intersection / union if union else 1.0

    matched = {j: i for i, j in match_phrases(predicted, [t.key for t in targets], score)}
    return [
        pair(matched[j], j) if j in matched else (0, max(1, int(target.mask.sum())))
        for j, target in enumerate(targets)
    ]


def _ignored(conversation: Conversation) -> dict[int, np.ndarray]:
    by_image: dict[int, list[np.ndarray]] = {}
    for area in conversation.ignore:
        by_image.setdefault(area.image_index, []).append(masks.decode(area.mask))
    return {index: masks.union(parts) for index, parts in by_image.items()}


def _prediction(
    answer: SessionAnswer | None, truth: list[Key], failure: str, seconds: float
) -> dict[str, Any]:
    """One turn of predictions.jsonl."""
    content: dict[str, Any] = {"seconds": round(seconds, 4)}
    if answer is not None:
        written = answer.to_json()
        content |= {
            k: written[k] for k in ("question", "text", "markup", "groundings", "problems", "finished")
        }
    content["truth"] = [{"image_index": image_index, "phrase": phrase} for image_index, phrase in truth]
    if failure:
        content["failure"] = failure
    return content


def image_paths(conversation: Conversation, root: Path) -> list[Path]:
    """Paths of a record's images: relative to the folder of its JSONL file."""
    return [root / image.path for image in conversation.images]
