"""PRIMA's metrics of grounded answers over several images, and those of GLaMM's protocol beside them.

| name | value | over |
|---|---|---|
| `mean_iou` | mean IoU of the sample's targets with what is assigned to them, 0 without it | samples |
| `mean_iou_matched` | the same of assigned pairs alone: what was missed costs nothing (GLaMM) | images |
| `recall` | targets with a prediction of IoU > 0.5 and semantic similarity > 0.5 | all targets |
| `recall_glamm` | the same with GLaMM's early break and >= | all targets |
| `ss`, `siou` | similarity of the assigned phrase, 0 without one | all targets |
| `ss_text`, `siou_text` | similarity of phrases paired by their text alone, in each image | all targets |
| `recall_at_50` | targets whose assigned mask has IoU > 0.5, whatever its name | all targets |
| `cumulative_iou` | intersections of assigned pairs over unions; a missed target is all union | pixels |
| `image_id_accuracy` | phrases placed in the right image, see `image_id_tally` | phrases said |

The newer version of the paper calls the third row I-SS and I-SIoU, the last one SS and SIoU: its numbers for
the former move with mIoU, as those of the first version's SS do. It defines neither.

Pairs exist only within an image: a mask in the wrong image is a wrong mask.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from segue.masks import RLE
from segue.metrics.matching import (
    GroundedMask,
    Matrix,
    Pairs,
    areas,
    best_assignment,
    greedy_assignment,
    iou_matrix,
)
from segue.metrics.similarity import SemanticSimilarity, semantic_iou
from segue.metrics.tally import Tally

IOU_THRESHOLD = 0.5
SIMILARITY_THRESHOLD = 0.5
"""Both exclusive in PRIMA ("higher than", "over"), both inclusive in GLaMM's code."""


@dataclass(frozen=True)
class Comparison:
    """One answer held against the record's: every pair of a prediction and a target.

    Attributes:
        predicted, targets: P and T masks.
        ious: `[P, T]`; 0 across images.
        words: Word IoU of the phrases, `[P, T]`.
        alike: Cosine of the phrases, `[P, T]`; None without an embedder.
        ignore: By image, an area that counts neither way.
    """

    predicted: Sequence[GroundedMask]
    targets: Sequence[GroundedMask]
    ious: Matrix
    words: Matrix
    alike: Matrix | None
    ignore: dict[int, RLE]

    @cached_property
    def pairs(self) -> Pairs:
        """The assignment that our metrics share: the largest sum of IoUs, phrases decide between equals."""
        # Cosines may be negative, and ties must stay within 0..1 to stay below every difference of IoU.
        return best_assignment(
            self.ious, ties=np.clip(self.alike if self.alike is not None else self.words, 0, 1)
        )

    @cached_property
    def recalled(self) -> Pairs | None:
        """Pairs above both thresholds; None without an embedder."""
        return None if self.alike is None else recalled(self.ious, self.alike)


@dataclass(frozen=True)
class TargetScore:
    """Outcome of one target; 0 and False where nothing is assigned to it.

    Attributes:
        iou: Of the assigned prediction.
        words: Word IoU of its phrase.
        alike: Cosine of its phrase; None without an embedder.
        recalled: Whether it counts for `recall`; None without an embedder.
    """

    iou: float
    words: float
    alike: float | None
    recalled: bool | None


def compare(
    predicted: Sequence[GroundedMask],
    targets: Sequence[GroundedMask],
    similarity: SemanticSimilarity | None = None,
    ignore: dict[int, RLE] | None = None,
) -> Comparison:
    """Compute what all scores of an answer are made from, once.

    Args:
        predicted: All masks of the answer, those in wrong images too; none when it failed.
        targets: All masks of the record's answer.
        similarity: Of phrases; None where there is no embedder.
        ignore: By image, an area that counts neither way.
    """
    return Comparison(
        predicted,
        targets,
        iou_matrix(predicted, targets, ignore),
        _word_ious(predicted, targets),
        similarity.matrix(*_phrases(predicted, targets)) if similarity is not None else None,
        ignore or {},
    )


def target_scores(found: Comparison) -> list[TargetScore]:
    """Outcome of each target, in their order: for classes and strata of targets."""
    assigned = {j: i for i, j in found.pairs}
    hits = None if found.recalled is None else {j for _, j in found.recalled}
    scores = []
    for j in range(len(found.targets)):
        i = assigned.get(j)
        alike = None if found.alike is None else 0.0 if i is None else float(found.alike[i, j])
        iou, words = (0.0, 0.0) if i is None else (float(found.ious[i, j]), float(found.words[i, j]))
        scores.append(TargetScore(iou, words, alike, None if hits is None else j in hits))
    return scores


def class_mean(values: Iterable[tuple[str, float]]) -> float | None:
    """Mean over classes of the mean over each class's targets: rare classes weigh as much as common ones.

    Args:
        values: Class and IoU of each target.

    Source: PRIMA section 5, "averaged across all classes", read literally.
    """
    by_class: dict[str, list[float]] = defaultdict(list)
    for name, value in values:
        by_class[name].append(value)
    return float(np.mean([np.mean(found) for found in by_class.values()])) if by_class else None


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
    return comparison_tallies(compare(predicted, targets, similarity, ignore))


def comparison_tallies(found: Comparison) -> dict[str, Tally]:
    """The contributions of an answer that is compared already; see `m4seg_tallies`."""
    predicted, targets, ious, words, alike = (
        found.predicted, found.targets, found.ious, found.words, found.alike
    )  # fmt: skip
    if not targets:
        return {}
    count = len(targets)
    tallies = {
        "mean_iou": Tally(sum(float(ious[pair]) for pair in found.pairs) / count, 1),
        "recall_at_50": Tally(sum(float(ious[pair]) > IOU_THRESHOLD for pair in found.pairs), count),
        "cumulative_iou": _cumulative(found),
        "siou": Tally(sum(float(words[pair]) for pair in found.pairs), count),
        "siou_text": Tally(_best_sum(words, predicted, targets), count),
        "mean_iou_matched": _matched(ious, predicted, targets),
        "image_id_accuracy": image_id_tally(predicted, targets, words),
    }
    if alike is not None:
        tallies |= {
            "recall": Tally(len(found.recalled or ()), count),
            "recall_glamm": _recall_glamm(ious, alike, predicted, targets),
            "ss": Tally(sum(float(alike[pair]) for pair in found.pairs), count),
            "ss_text": Tally(_best_sum(alike, predicted, targets), count),
        }
    return tallies


def image_id_tally(
    predicted: Sequence[GroundedMask], targets: Sequence[GroundedMask], words: Matrix
) -> Tally:
    """Image-identifier accuracy: is what is named also placed in the right image?

    A prediction and a target name the same thing when their phrases share half of their words or more. Below
    the line stands how many pairs that name the same thing can be had one-to-one, whatever their images;
    above it, how many when each pair must also lie in one image. What is not named at all costs nothing here;
    F1 of phrases and the masks' scores tell it. A further prediction in a wrong image never raises the score.

    Worked example: targets (image 1, "red mug"), (image 2, "lamp"); predictions (image 2, "mug"), (image 2,
    "the lamp"): two pairs, one of them in the right image: 1 / 2.

    Args:
        predicted, targets: P and T masks.
        words: Word IoU of their phrases, `[P, T]`.

    Source: no public counterpart; ours.
    """
    named = np.where(words >= SIMILARITY_THRESHOLD, 1.0, 0.0)
    placed = np.where(_same_image(predicted, targets), named, 0.0)
    return Tally(len(best_assignment(placed)), len(best_assignment(named)))


def recalled(ious: Matrix, similarity: Matrix) -> Pairs:
    """Pairs of `[P, T]` matrices above both thresholds, as many as can be had one-to-one.

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
    """Mean IoU of one image, `[P, T]`, as GLaMM's code has it: over the pairs it found, 0 without any.

    Two empty masks are a perfect pair here as everywhere; there they are 0 / 0, which ends the loop and gives
    the whole image 0.

    Source: GLaMM's code (eval/gcg); recorded from it.
    """
    values = [float(ious.T[pair]) for pair in greedy_assignment(ious.T)]
    return float(np.mean(values)) if values else 0.0


def _cumulative(found: Comparison) -> Tally:
    """Intersections and unions of the assigned pairs, got back from IoUs and areas; misses are all union."""
    drawn, wanted = areas(found.predicted, found.ignore), areas(found.targets, found.ignore)
    # Targets that nothing is assigned to, in their order.
    left = dict.fromkeys(range(len(wanted)))
    inter = union = 0.0
    for i, j in found.pairs:
        del left[j]
        iou, both = float(found.ious[i, j]), drawn[i] + wanted[j]
        # I / (both - I) = iou; counts are whole numbers, which rounding restores.
        common = round(both * iou / (1 + iou))
        inter, union = inter + common, union + both - common
    return Tally(inter, union + sum(wanted[j] for j in left))


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
    kept = np.where(_same_image(predicted, targets), values, 0.0)
    return sum(float(kept[pair]) for pair in best_assignment(kept))


def _same_image(predicted: Sequence[GroundedMask], targets: Sequence[GroundedMask]) -> NDArray[np.bool_]:
    same = np.array([[p.image_index == t.image_index for t in targets] for p in predicted], dtype=bool)
    # An array made of no rows has the shape (0,), where the sums need (0, T).
    return same.reshape(len(predicted), len(targets))


def _word_ious(predicted: Sequence[GroundedMask], targets: Sequence[GroundedMask]) -> Matrix:
    found = [[semantic_iou(p.phrase, t.phrase) for t in targets] for p in predicted]
    # (0, T) without predictions, as in `_same_image`.
    return np.array(found, dtype=float).reshape(len(predicted), len(targets))


def _phrases(
    predicted: Sequence[GroundedMask], targets: Sequence[GroundedMask]
) -> tuple[list[str], list[str]]:
    return [mark.phrase for mark in predicted], [mark.phrase for mark in targets]
