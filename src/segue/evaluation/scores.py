"""From samples and answers to the numbers of metrics.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from segue.errors import InputError
from segue.evaluation.predictions import MISSING, Answer
from segue.evaluation.protocols import Item, Protocol
from segue.evaluation.samples import Key, Sample
from segue.evaluation.strata import (
    ANSWER_STRATA,
    TARGET_STRATA,
    answer_labels,
    category_counts,
    group_order,
    target_labels,
)
from segue.metrics.m4seg import TargetScore
from segue.metrics.similarity import SemanticSimilarity
from segue.metrics.tally import Tallies, bootstrap, scores

FIRST_FAILURES = 20
NEEDS_EMBEDDER = ("recall", "recall_glamm", "ss", "ss_text")


def pair_up(
    samples: Sequence[Sample], answers: Mapping[Key, Answer], similarity: SemanticSimilarity | None = None
) -> list[Item]:
    """Every sample with its answer, or with none; phrases are embedded once, all together."""
    items = [Item(sample, answers.get(sample.key, MISSING), similarity) for sample in samples]
    if similarity is not None:
        similarity.prepare(
            m.phrase for item in items for side in (item.drawn, item.sample.targets) for m in side
        )
    return items


def summarise(
    items: Sequence[Item], protocol: Protocol, *, no_embedder: str = "", drawings: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """All numbers of a set of answers, with intervals and strata.

    A score over nothing, or one that something is missing for, is None (null in the file); `not_available`
    says why.

    Args:
        items: Of `pair_up`.
        protocol: What to compute.
        no_embedder: Why there is no sentence embedder.
        drawings: Of the bootstrap; 0 for no intervals.
        seed: Of the bootstrap.

    Raises:
        InputError: A mask has another size than the picture; the message names the answer.
    """
    _check_sizes(items)
    units = _units(items, protocol)
    values: dict[str, float | None] = scores(units)
    beside = protocol.corpus(items, values)
    values |= beside.values
    reasons = dict(beside.reasons)
    if protocol.tells_targets and no_embedder:
        values |= dict.fromkeys(NEEDS_EMBEDDER)
        reasons |= dict.fromkeys(NEEDS_EMBEDDER, no_embedder)
    values = dict.fromkeys(protocol.headline) | values
    reasons |= {name: "nothing to score" for name, v in values.items() if v is None and name not in reasons}
    found: dict[str, Any] = dict(sorted(values.items()))
    if drawings:
        found["intervals"] = _intervals(units, drawings, seed)
    found["not_available"] = reasons
    found |= counted(items)
    found |= _answer_strata(items, protocol)
    if protocol.tells_targets:
        found |= _target_strata(items)
    return found


def counted(items: Sequence[Item]) -> dict[str, Any]:
    """How much was asked, and what failed."""
    seconds = [item.answer.seconds for item in items if item.answer is not MISSING]
    return {
        "n": len({item.sample.conversation_id for item in items}),
        "n_turns": len(items),
        "n_masks": sum(len(item.sample.targets) for item in items),
        "n_image_dependent": sum(bool(item.sample.needs_images) for item in items),
        "failures": failures(items),
        "seconds_per_turn": sum(seconds) / len(seconds) if seconds else None,
    }


def failures(items: Sequence[Item]) -> dict[str, Any]:
    """How many answers count zero because there is none, by reason, and the first of them in full."""
    failed = [item for item in items if item.failure]
    first = [
        {"id": item.sample.conversation_id, "turn": item.sample.turn, "reason": item.failure}
        for item in failed[:FIRST_FAILURES]
    ]
    # The words before what was expected and found are the same for all failures of a kind.
    reasons = Counter(item.failure.partition(" expected: ")[0][:200] for item in failed)
    return {"count": len(failed), "reasons": dict(reasons.most_common()), "first": first}


def answer_score(item: Item, protocol: Protocol) -> float | None:
    """One answer's own mean IoU, to sort answers by; None where nothing was to be drawn."""
    found = scores([item.contributions(protocol)])
    return found.get("mean_iou")


def _units(items: Sequence[Item], protocol: Protocol) -> list[Tallies]:
    by_unit: dict[str, list[Item]] = {}
    for item in items:
        by_unit.setdefault(protocol.unit_of(item.sample), []).append(item)
    return [protocol.unit(group) for group in by_unit.values()]


def _intervals(units: Sequence[Tallies], drawings: int, seed: int) -> dict[str, list[float] | None]:
    """95 % bounds of the scores that are sums, by drawing conversations anew."""
    drawn = bootstrap(units, drawings=drawings, seed=seed)
    return {name: None if bounds is None else list(bounds) for name, bounds in sorted(drawn.items())}


def _answer_strata(items: Sequence[Item], protocol: Protocol) -> dict[str, Any]:
    groups: dict[str, dict[str, list[Item]]] = {name: {} for name in ANSWER_STRATA}
    for item in items:
        for stratum, group in answer_labels(item.sample).items():
            groups[stratum].setdefault(group, []).append(item)
    return {
        stratum: {name: _group(found[name], protocol, stratum) for name in sorted(found, key=group_order)}
        for stratum, found in groups.items()
    }


def _group(items: Sequence[Item], protocol: Protocol, stratum: str) -> dict[str, Any]:
    numbers: dict[str, Any] = dict(sorted(scores([item.contributions(protocol) for item in items]).items()))
    if stratum == "by_turn" and protocol.name == "prist":
        numbers |= protocol.corpus(items, numbers).values
    return numbers | {"n_turns": len(items), "n_masks": sum(len(i.sample.targets) for i in items)}


def _target_strata(items: Sequence[Item]) -> dict[str, Any]:
    frequencies = category_counts(item.sample for item in items)
    groups: dict[str, dict[str, list[TargetScore]]] = {name: {} for name in TARGET_STRATA}
    for item in items:
        labelled = target_labels(item.sample, frequencies)
        for labels, target in zip(labelled, item.target_scores, strict=True):
            for stratum, group in labels.items():
                groups[stratum].setdefault(group, []).append(target)
    return {
        stratum: {name: _target_numbers(found[name]) for name in sorted(found, key=group_order)}
        for stratum, found in groups.items()
    }


def _target_numbers(targets: Sequence[TargetScore]) -> dict[str, float | int | None]:
    """Means over single targets; `mean_iou` here weighs targets, not answers."""
    count = len(targets)
    alike = [target.alike for target in targets if target.alike is not None]
    hits = [target.recalled for target in targets if target.recalled is not None]
    return {
        "mean_iou": sum(target.iou for target in targets) / count,
        "recall": sum(hits) / count if hits else None,
        "recall_at_50": sum(target.iou > 0.5 for target in targets) / count,
        "siou": sum(target.words for target in targets) / count,
        "ss": sum(alike) / count if alike else None,
        "n_masks": count,
    }


def _check_sizes(items: Iterable[Item]) -> None:
    """Masks of two sizes in one image are a mistake of whoever wrote the predictions, not a low score."""
    for item in items:
        sizes: dict[int, tuple[int, ...]] = {}
        for mark in (*item.sample.targets, *item.drawn):
            if mark.rle is None:
                continue
            size = tuple(mark.rle["size"])
            if sizes.setdefault(mark.image_index, size) != size:
                raise _other_size(item, mark.image_index, sizes[mark.image_index], size)


def _other_size(item: Item, image: int, expected: tuple[int, ...], found: tuple[int, ...]) -> InputError:
    return InputError(
        "A predicted mask has another size than the true one.",
        expected=f"(height, width) {expected}",
        found=str(found),
        where=f"conversation {item.sample.conversation_id!r}, answer {item.sample.turn}, image {image + 1}",
        fix="bring predictions to the size of the original image",
    )
