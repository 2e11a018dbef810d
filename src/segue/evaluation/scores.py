"""Numbers of metrics.json, from the results of single turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from segue.evaluation.run_conversation import TurnResult
from segue.metrics import PhraseCounts, cumulative_iou, mean_iou, recall_at

FIRST_FAILURES = 20


def summarise(results: Sequence[TurnResult], *, masks_scored: bool = True) -> dict[str, Any]:
    """All numbers over a set of turns, with their breakdowns.

    - `mean_iou`: mean IoU over all masks that the records' answers name; one that no prediction with the same
      image and the same normalised phrase was matched to counts 0. `recall_at_50`: share of them with IoU >
      0.5. `cumulative_iou`: summed intersections over summed unions of the same pairs.
    - `phrase_f1`: micro F1 over `(image, phrase)` pairs of all turns; `phrase_f1_image_dependent`: over the
      turns whose meta says that the images are needed to answer. `exact_match`: share of turns with all pairs
      right and none surplus.
    - `image_id_accuracy`: see `segue.metrics.image_id_hits`.

    A number over nothing is None (null in the file). Turns whose meta says nothing count in the overall
    numbers only.

    Args:
        results: Any number of turns.
        masks_scored: False when other images were shown; mask numbers are then None.

    Returns:
        The content of metrics.json, without what describes the run.
    """
    dependent = [r for r in results if r.needs_images]
    numbers = _numbers(results, masks_scored)
    return {
        **numbers,
        "phrase_f1_image_dependent": _phrase_f1(dependent),
        "n_image_dependent": len(dependent),
        "by_turn": _grouped(results, masks_scored, lambda r: str(r.turn)),
        "by_number_of_images": _grouped(results, masks_scored, lambda r: str(r.num_images)),
        "by_kind": _grouped(results, masks_scored, lambda r: r.kind),
        "by_level": _grouped(results, masks_scored, lambda r: r.level),
        "failures": failures(results),
        "seconds_per_turn": sum(r.seconds for r in results) / len(results) if results else None,
    }


def failures(results: Sequence[TurnResult]) -> dict[str, Any]:
    """Number of turns without an answer, and the first reasons."""
    failed = [r for r in results if r.failure]
    first = [{"id": r.conversation_id, "turn": r.turn, "reason": r.failure} for r in failed[:FIRST_FAILURES]]
    return {"count": len(failed), "first": first}


def _numbers(results: Sequence[TurnResult], masks_scored: bool) -> dict[str, Any]:
    """The numbers that every breakdown repeats."""
    ious = [iou for r in results for iou in r.ious]
    exact = sum(r.counts.exact and not r.failure for r in results)
    right, considered = (sum(r.id_hits[k] for r in results) for k in (0, 1))
    return {
        "mean_iou": mean_iou(ious) if masks_scored else None,
        "recall_at_50": recall_at(ious) if masks_scored else None,
        "cumulative_iou": cumulative_iou([o for r in results for o in r.overlaps]) if masks_scored else None,
        "phrase_f1": _phrase_f1(results),
        "image_id_accuracy": right / considered if considered else None,
        "exact_match": exact / len(results) if results else None,
        "n_turns": len(results),
        "n_masks": sum(r.num_targets for r in results),
    }


def _phrase_f1(results: Sequence[TurnResult]) -> float | None:
    return sum((r.counts for r in results), PhraseCounts()).f1


def _grouped(
    results: Sequence[TurnResult], masks_scored: bool, name: Callable[[TurnResult], str | None]
) -> dict[str, Any]:
    """The numbers of each group, groups sorted by name; turns without a name are left out."""
    groups: dict[str, list[TurnResult]] = {}
    for result in results:
        key = name(result)
        if key is not None:
            groups.setdefault(key, []).append(result)
    return {key: _numbers(groups[key], masks_scored) for key in sorted(groups)}
