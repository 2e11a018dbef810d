"""`segue calibrate`: presence scores of a model against what is there, and a calibration fitted on them.

The model is asked the questions of records, and, once for each record, its first question about the images of
another record in which nothing of that name is annotated. Each grounding of the answers is there or not;
`is_there` has the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue import masks
from segue.errors import InputError
from segue.evaluation.evaluation_data import EvaluationData
from segue.evaluation.predictions import Line
from segue.evaluation.run_conversation import run_conversations
from segue.evaluation.samples import questions_of, targets_of
from segue.inference.batching import ask_together
from segue.inference.inputs import MAX_NEW_TOKENS
from segue.inference.loaded_model import LoadedModel
from segue.metrics.calibration import brier_score, expected_calibration_error, ranking_auc
from segue.metrics.matching import GroundedMask, iou_matrix
from segue.metrics.text import normalise_phrase
from segue.records import Conversation
from segue.records.presence import EDGE, SIGNALS, Calibration, logit, presence_of

IOU = 0.5
"""A mask that overlaps an annotated one by more is of a thing that is there."""

FOLDS = 5
"""Parts of the data, each measured by a calibration that was fitted on the others."""

FEWEST = 10
"""Groundings that are there, and that are not, below which nothing is fitted."""


@dataclass(frozen=True)
class Judged:
    """A grounding of an answer.

    Attributes:
        mask, text: confidences, see `Presence`.
        there: whether its thing is there.
        group: number of the record whose images were shown; groups are never divided between folds.
        asked_absent: whether what was asked for is not there.
    """

    mask: float
    text: float | None
    there: bool
    group: int
    asked_absent: bool = False


def judged_groundings(
    model: LoadedModel,
    data: EvaluationData,
    *,
    absent: bool = True,
    max_new_tokens: int = MAX_NEW_TOKENS,
    batch_size: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> list[Judged]:
    """Ask a model and judge each grounding of its answers.

    Args:
        model: its own calibration plays no part.
        data: records with masks.
        absent: ask also for what is not there.
        max_new_tokens: budget of each answer.
        batch_size: conversations at a time.
        progress: called with how many of how many records are done.
    """
    found: list[Judged] = []
    total = len(data.conversations)
    for start in range(0, total, batch_size):
        numbers = range(start, min(start + batch_size, total))
        some = [(data.conversations[n], data.image_paths(data.conversations[n])) for n in numbers]
        for number, line in zip(numbers, run_conversations(model, some, max_new_tokens=max_new_tokens)):
            found += _of_own_questions(line, data.conversations[number], number)
        if absent:
            found += _of_absent_things(model, data, numbers, max_new_tokens)
        if progress is not None:
            progress(numbers.stop, total)
    return found


def _of_own_questions(line: Line, conversation: Conversation, number: int) -> Iterator[Judged]:
    truth = annotated(conversation)
    for turn in line["turns"]:
        for entry in turn.get("groundings", ()):
            mark = GroundedMask(entry["image_index"], entry["phrase"], entry["segmentation"])
            if "presence" in entry:
                yield _judged(entry["presence"], is_there(mark, truth), number, False)


def _of_absent_things(
    model: LoadedModel, data: EvaluationData, numbers: Sequence[int], budget: int
) -> Iterator[Judged]:
    swaps = [(n, other) for n in numbers if (other := other_record(data.conversations, n)) is not None]
    if not swaps:
        return
    sessions = [model.session(data.image_paths(data.conversations[other])) for _, other in swaps]
    questions = [questions_of(data.conversations[n])[0][1] for n, _ in swaps]
    outcomes = ask_together(sessions, questions, max_new_tokens=budget)
    for (_, other), outcome in zip(swaps, outcomes, strict=True):
        if isinstance(outcome, Exception):
            continue
        truth = annotated(data.conversations[other])
        for g in outcome.groundings:
            mark = GroundedMask(g.image_index, g.phrase, masks.encode(g.mask))
            # The name counts here: a chair that is drawn as "the mug" is no mug.
            if g.presence is not None:
                yield _judged(g.presence.to_json(), is_there(mark, truth, by_name=True), other, True)


def _judged(presence: dict[str, Any], there: bool, group: int, absent: bool) -> Judged:
    return Judged(presence["mask"], presence["text"], there, group, absent)


def annotated(conversation: Conversation) -> list[GroundedMask]:
    """Every mask that a record has: its regions', and the unions that its answers name."""
    found = [GroundedMask(r.image_index, r.name, r.mask) for r in conversation.regions if r.mask is not None]
    known = {r.rid for r in conversation.regions if r.mask is not None}
    for index, _ in questions_of(conversation):
        spans = conversation.turns[index].spans
        # A mask that is only referred to cannot be compared with.
        if all(rid in known for span in spans for rid in span.rids):
            found += [target.mark for target in targets_of(conversation, index)]
    return found


def is_there(mark: GroundedMask, truth: Sequence[GroundedMask], *, by_name: bool = False) -> bool:
    """Whether a mask overlaps an annotated one of its image by more than `IOU`.

    Args:
        mark: of an answer.
        truth: of the record.
        by_name: the annotated one must also bear the name, see `same_name`.

    Source: ours. Of a thing that is there and drawn badly it says no: a user has no use for that mask.
    """
    rivals = [t for t in truth if t.image_index == mark.image_index]
    if by_name:
        rivals = [t for t in rivals if same_name(t.phrase, mark.phrase)]
    return bool(rivals) and float(iou_matrix([mark], rivals).max()) > IOU


def same_name(first: str, second: str) -> bool:
    """Whether all words of one name stand in the other: "mug" and "the red mug"."""
    one, two = (set(normalise_phrase(name).split()) for name in (first, second))
    return bool(one and two) and (one <= two or two <= one)


def other_record(conversations: Sequence[Conversation], number: int) -> int | None:
    """The next record with as many images, in which nothing is annotated that a record's first answer names.

    None where the answer names nothing, or every other record has something of that name.
    """
    own = conversations[number]
    if not questions_of(own):
        return None
    answer = own.turns[questions_of(own)[0][0]]
    names = {own.region(rid).name for span in answer.spans for rid in span.rids}
    names |= {answer.text[span.start : span.end] for span in answer.spans}
    if not names:
        return None
    for step in range(1, len(conversations)):
        other = (number + step) % len(conversations)
        record = conversations[other]
        if len(record.images) != len(own.images):
            continue
        if not any(same_name(name, region.name) for name in names for region in record.regions):
            return other
    return None


# ---- the fit -------------------------------------------------------------------------------------------


def fit(judged: Sequence[Judged]) -> Calibration:
    """Fit a logistic function of the confidences' logits by maximum likelihood.

    A confidence that speaks against presence is left out: with few groundings that is chance.

    Raises:
        InputError: too few groundings that are there, or that are not.

    Source: Platt (1999), his smoothed targets included.
    """
    positive = sum(j.there for j in judged)
    negative = len(judged) - positive
    if min(positive, negative) < FEWEST:
        raise InputError(
            "There are too few groundings to calibrate on.",
            expected=f"at least {FEWEST} whose thing is there, and {FEWEST} whose thing is not",
            found=f"{positive} and {negative}",
            where="--data",
            fix="give more conversations, or such in which the model draws what is not there",
        )
    names = [n for n in SIGNALS if all(getattr(j, n) is not None for j in judged)]
    # Not 1 and 0: of 50 true ones the 51st need not be true.
    targets = np.where([j.there for j in judged], (positive + 1) / (positive + 2), 1 / (negative + 2))
    while True:
        features = np.array([[logit(getattr(j, n)) for n in names] + [1.0] for j in judged])
        solution = _logistic(features, targets)
        adverse = [n for n, weight in zip(names, solution[:-1], strict=True) if weight <= 0]
        if not adverse:
            return Calibration(
                {n: float(w) for n, w in zip(names, solution, strict=False)}, float(solution[-1])
            )
        names = [n for n in names if n not in adverse]


def _logistic(features: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights `[D]` of features `[N, D]` by Newton's method; a small ridge keeps them finite."""
    # In the scale of standardised features, so that the ridge treats both confidences alike.
    scale = np.maximum(features.std(0), EDGE)
    scale[-1] = 1.0
    scaled = features / scale
    ridge = np.full(features.shape[1], 1e-3 * len(features))
    ridge[-1] = 0.0
    weights = np.zeros(features.shape[1])
    for _ in range(100):
        probabilities = 1 / (1 + np.exp(-np.clip(scaled @ weights, -30, 30)))
        gradient = scaled.T @ (probabilities - targets) + ridge * weights
        curvature = (scaled.T * np.maximum(probabilities * (1 - probabilities), 1e-9)) @ scaled
        step = np.linalg.solve(curvature + np.diag(ridge + 1e-12), gradient)
        weights -= step
        if float(np.abs(step).max()) < 1e-10:
            break
    found: NDArray[np.float64] = weights / scale
    return found


@dataclass(frozen=True)
class Measured:
    """Scores of groundings before and after a calibration.

    Attributes:
        there: what is true.
        raw: uncalibrated scores.
        calibrated: probabilities, each by a calibration that has not seen its record.
    """

    there: list[bool]
    raw: list[float]
    calibrated: list[float]

    def numbers(self) -> dict[str, Any]:
        """Errors of both; `auc` says how well they rank, which a calibration of one confidence keeps."""
        found: dict[str, Any] = {}
        for name, scores in (("uncalibrated", self.raw), ("calibrated", self.calibrated)):
            found[name] = {
                "ece": expected_calibration_error(scores, self.there),
                "brier": brier_score(scores, self.there),
                "auc": ranking_auc(scores, self.there),
            }
        return found


def cross_validated(judged: Sequence[Judged]) -> Measured:
    """Scores of every grounding by a calibration fitted on the other folds.

    Raises:
        InputError: too few groundings outside of a fold.
    """
    calibrated = [0.0] * len(judged)
    # Records in turn: neighbours in a file are often alike.
    order = {group: place % FOLDS for place, group in enumerate(sorted({j.group for j in judged}))}
    for fold in range(FOLDS):
        inside = [n for n, j in enumerate(judged) if order[j.group] == fold]
        if not inside:
            continue
        fitted = fit([j for j in judged if order[j.group] != fold])
        for n in inside:
            calibrated[n] = presence_of(judged[n].mask, judged[n].text, fitted).score
    raw = [presence_of(j.mask, j.text).score for j in judged]
    return Measured([j.there for j in judged], raw, calibrated)
