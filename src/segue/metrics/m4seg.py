"""PRIMA's metrics of grounded answers over several images, and those of GLaMM's protocol beside them.

| name | value | over |
|---|---|---|
| `mean_iou` | mean IoU of the sample's targets with what is assigned to them, 0 without it | samples |
| `mean_iou_matched` | the same of assigned pairs alone: what was missed costs nothing (GLaMM) | images |
| `recall` | targets with a prediction of IoU > 0.5 and semantic similarity > 0.5 | all targets |
| `recall_glamm` | the same with GLaMM's early break and >= | all targets |
| `ss`, `siou` | similarity of the assigned phrase, 0 without one | all targets |
| `ss_text`, `siou_text` | similarity of phrases paired by their text alone, in each image | all targets |

The newer version of the paper calls the third row I-SS and I-SIoU, the last one SS and SIoU: its numbers for
the former move with mIoU, as those of the first version's SS do. It defines neither.

Pairs exist only within an image: a mask in the wrong image is a wrong mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segue.masks import RLE
from segue.metrics.matching import (
    GroundedMask,
    Matrix,
    Pairs,
    best_assignment,
    greedy_assignment,
    iou_matrix,
)
from segue.metrics.similarity import SemanticSimilarity, semantic_iou
from segue.metrics.tally import Tally

IOU_THRESHOLD = 0.5
SIMILARITY_THRESHOLD = 0.5
"""Both exclusive in PRIMA ("higher than", "over"), both inclusive in GLaMM's code."""


def m4seg_tallies(
    predicted: Sequence[GroundedMask],
    targets: Sequence[GroundedMask],
    similarity: SemanticSimilarity | None = None,
    ignore: dict[int, RLE] | None = None,
) -> dict[str, Tally]:
    """One answer's contributions to the scores of the table above.

    Args:
        predicted: All masks of the answer, those in wrong images too; none when it failed.
        targets: All masks of the record's answer. With none the sample contributes nothing: what an answer
            draws where nothing was to be drawn is told by other metrics.
        similarity: Without it the scores that need it are absent.
        ignore: By image, an area that counts neither way.

    Source: PRIMA appendix B for what is measured; the assignment and the denominators are ours, because the
        paper states none.
    """
    if not targets:
        return {}
    ious = iou_matrix(predicted, targets, ignore)
    words = _word_ious(predicted, targets)
    alike = similarity.matrix(*_phrases(predicted, targets)) if similarity is not None else None
    pairs = best_assignment(ious, ties=np.clip(alike if alike is not None else words, 0, 1))
    count = len(targets)
    found = {
        "mean_iou": Tally(sum(float(ious[pair]) for pair in pairs) / count, 1),
        "siou": Tally(sum(float(words[pair]) for pair in pairs), count),
        "siou_text": Tally(_best_sum(words, predicted, targets), count),
        "mean_iou_matched": _matched(ious, predicted, targets),
    }
    if alike is not None:
        found |= {
            "recall": Tally(len(recalled(ious, alike)), count),
            "recall_glamm": _recall_glamm(ious, alike, predicted, targets),
            "ss": Tally(sum(float(alike[pair]) for pair in pairs), count),
            "ss_text": Tally(_best_sum(alike, predicted, targets), count),
        }
    return found


def recalled(ious: Matrix, similarity: Matrix) -> Pairs:
    """Pairs above both thresholds, as many as can be had one-to-one.

    Source: PRIMA appendix B: predictions with IoU above 0.5, of these one whose similarity is above 0.5 too.
        That each prediction serves one target is ours.
    """
    both = (ious > IOU_THRESHOLD) & (similarity > SIMILARITY_THRESHOLD)
    # 1 for every pair: the sum that is maximised is their number, IoU decides between equals.
    return best_assignment(np.where(both, 1.0, 0.0), ties=ious)


def glamm_true_positives(ious: Matrix, similarity: Matrix) -> int:
    """True positives of one image as GLaMM's code counts them.

    It takes the pair of the highest IoU again and again, and stops at the first whose IoU or similarity is
    below its threshold: one good mask with a wrong name hides all later matches. Where there are fewer
    phrases than masks its loop runs out of the table, and the image counts nothing.

    Args:
        ious: `[P, T]`.
        similarity: `[P', T']`; fewer rows or columns than `ious` where phrases are missing.

    Source: GLaMM's code (eval/gcg); recorded from it.
    """
    # Its table is [targets, predictions], which decides between equal IoUs: the first target first.
    left, alike = ious.T.copy(), similarity.T
    count = 0
    while left.size and left.max() > 0:
        j, i = (int(k) for k in np.unravel_index(int(left.argmax()), left.shape))
        if left[j, i] < IOU_THRESHOLD:
            break
        if j >= alike.shape[0] or i >= alike.shape[1]:
            return 0
        if alike[j, i] < SIMILARITY_THRESHOLD:
            break
        count += 1
        left[j, :], left[:, i] = 0, 0
    return count


def glamm_image_iou(ious: Matrix) -> float:
    """Mean IoU of one image as GLaMM's code has it: over the pairs that it found, 0 when there are none.

    Two empty masks are a perfect pair here as everywhere; there they are 0 / 0, which ends the loop and gives
    the whole image 0.

    Source: GLaMM's code (eval/gcg); recorded from it.
    """
    values = [float(ious.T[pair]) for pair in greedy_assignment(ious.T)]
    return float(np.mean(values)) if values else 0.0


def _matched(ious: Matrix, predicted: Sequence[GroundedMask], targets: Sequence[GroundedMask]) -> Tally:
    parts = _by_image(predicted, targets)
    return Tally(sum(glamm_image_iou(ious[np.ix_(*part)]) for part in parts), len(parts))


def _recall_glamm(
    ious: Matrix, alike: Matrix, predicted: Sequence[GroundedMask], targets: Sequence[GroundedMask]
) -> Tally:
    parts = _by_image(predicted, targets)
    hits = sum(glamm_true_positives(ious[np.ix_(*part)], alike[np.ix_(*part)]) for part in parts)
    return Tally(hits, len(targets))


def _by_image(
    predicted: Sequence[GroundedMask], targets: Sequence[GroundedMask]
) -> list[tuple[list[int], list[int]]]:
    """Rows and columns of each image that has a target."""
    return [
        (
            [i for i, mark in enumerate(predicted) if mark.image_index == image],
            [j for j, mark in enumerate(targets) if mark.image_index == image],
        )
        for image in sorted({target.image_index for target in targets})
    ]


def _best_sum(values: Matrix, predicted: Sequence[GroundedMask], targets: Sequence[GroundedMask]) -> float:
    """Largest sum of one-to-one pairs within the images, by these values alone."""
    same = np.array([[p.image_index == t.image_index for t in targets] for p in predicted], dtype=bool)
    kept = np.where(same.reshape(values.shape), values, 0.0)
    return sum(float(kept[pair]) for pair in best_assignment(kept))


def _word_ious(predicted: Sequence[GroundedMask], targets: Sequence[GroundedMask]) -> Matrix:
    found = [[semantic_iou(p.phrase, t.phrase) for t in targets] for p in predicted]
    return np.array(found, dtype=float).reshape(len(predicted), len(targets))


def _phrases(
    predicted: Sequence[GroundedMask], targets: Sequence[GroundedMask]
) -> tuple[list[str], list[str]]:
    return [mark.phrase for mark in predicted], [mark.phrase for mark in targets]
