"""PRIMA's metrics against slow readings of their words, GLaMM's against what its code said."""

import json
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load_file

from goldens import GOLDENS, needs
from segue import masks
from segue.metrics.m4seg import (
    TargetScore,
    class_mean,
    compare,
    glamm_image_iou,
    glamm_true_positives,
    m4seg_tallies,
    recalled,
    target_scores,
)
from segue.metrics.matching import GroundedMask, iou_matrix
from segue.metrics.similarity import SemanticSimilarity, semantic_iou
from segue.metrics.tally import score

PHRASES = ("red mug", "mug", "lamp", "")
VECTORS = {"red mug": (1.0, 0.4), "mug": (1.0, 0.0), "lamp": (0.1, 1.0)}
MASK = arrays(bool, (3, 3))
MARK = st.builds(
    lambda image, phrase, mask: GroundedMask(image, phrase, masks.encode(mask)),
    st.integers(0, 1), st.sampled_from(PHRASES), MASK,
)  # fmt: skip
MARKS = st.lists(MARK, max_size=3)


def alike() -> SemanticSimilarity:
    return SemanticSimilarity(lambda texts: np.array([VECTORS[t] for t in texts]))


def value(found: dict, name: str) -> float:
    result = score([found[name]])
    assert result is not None
    return result


def iou(a: GroundedMask, b: GroundedMask) -> float:
    if a.image_index != b.image_index or a.rle is None or b.rle is None:
        return 0.0
    left, right = masks.decode(a.rle), masks.decode(b.rle)
    union = (left | right).sum()
    return float((left & right).sum() / union) if union else 1.0


def pairings(predicted: list[GroundedMask], targets: list[GroundedMask]) -> list[list[tuple[int, int]]]:
    """Every one-to-one choice of pairs."""
    found: list[list[tuple[int, int]]] = []
    for size in range(min(len(predicted), len(targets)) + 1):
        for left in combinations(range(len(predicted)), size):
            orders = permutations(range(len(targets)), size)
            found += [list(zip(left, right, strict=True)) for right in orders]
    return found


@given(MARKS, st.lists(MARK, min_size=1, max_size=3))
def test_against_a_slow_reading(predicted: list[GroundedMask], targets: list[GroundedMask]) -> None:
    found, similarity = m4seg_tallies(predicted, targets, alike()), alike()
    ways = pairings(predicted, targets)
    sums = [sum(iou(predicted[i], targets[j]) for i, j in way) for way in ways]
    assert value(found, "mean_iou") == pytest.approx(max(sums) / len(targets))
    hits = [
        sum(
            iou(predicted[i], targets[j]) > 0.5 and similarity(predicted[i].phrase, targets[j].phrase) > 0.5
            for i, j in way
        )
        for way in ways
    ]
    assert value(found, "recall") == max(hits) / len(targets)
    inside = [[(i, j) for i, j in w if predicted[i].image_index == targets[j].image_index] for w in ways]
    texts = [
        sum(max(0.0, similarity(predicted[i].phrase, targets[j].phrase)) for i, j in way) for way in inside
    ]
    assert value(found, "ss_text") == pytest.approx(max(texts) / len(targets))


@given(MARKS, st.lists(MARK, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_no_order_counts(predicted: list[GroundedMask], targets: list[GroundedMask], rng: object) -> None:
    before = m4seg_tallies(predicted, targets, alike())
    left, right = list(predicted), list(targets)
    rng.shuffle(left), rng.shuffle(right)  # type: ignore[attr-defined]
    after = m4seg_tallies(left, right, alike())
    for name in before.keys() - {"recall_glamm", "mean_iou_matched"}:  # those follow their published loops
        # The tie-break moves a sum of IoUs by less than 1e-7.
        assert after[name] == pytest.approx(before[name], abs=1e-6), name


@given(MARKS, st.lists(MARK, min_size=1, max_size=3), st.sampled_from(PHRASES))
def test_a_mask_that_touches_no_target_raises_nothing(
    predicted: list[GroundedMask], targets: list[GroundedMask], phrase: str
) -> None:
    wrong = GroundedMask(7, phrase, masks.encode(np.ones((3, 3), bool)))
    before, after = (m4seg_tallies(p, targets, alike()) for p in (predicted, [*predicted, wrong]))
    assert all(value(after, name) <= value(before, name) + 1e-9 for name in before if before[name].weight)


@given(st.lists(MARK, min_size=1, max_size=3))
def test_the_truth_itself_is_perfect(targets: list[GroundedMask]) -> None:
    found = m4seg_tallies(targets, targets, alike())
    assert value(found, "mean_iou") == pytest.approx(1)
    assert value(found, "mean_iou_matched") == pytest.approx(1)


def test_what_failed_counts_zero_and_nothing_to_name_counts_nothing() -> None:
    target = GroundedMask(0, "mug", masks.encode(np.ones((3, 3), bool)))
    failed = m4seg_tallies([], [target], alike())
    assert len(failed) == 11
    assert failed.pop("image_id_accuracy").weight == 0, "nothing is named, so no identifier is wrong"
    assert all(value(failed, name) == 0 for name in failed)
    assert m4seg_tallies([target], [], alike()) == {}
    assert "recall" not in m4seg_tallies([target], [target])


def test_the_threshold_itself_is_not_above_it() -> None:
    half = np.array([[0.5]])
    assert recalled(half, np.array([[0.9]])) == []
    assert recalled(np.array([[0.51]]), half) == []
    assert recalled(np.array([[0.51]]), np.array([[0.51]])) == [(0, 0)]
    assert glamm_true_positives(half, half) == 1


def test_one_good_mask_with_a_wrong_name_hides_what_follows_in_glamms_count_only() -> None:
    ious, similarity = np.array([[0.9, 0], [0, 0.8]]), np.array([[0.2, 0], [0, 0.9]])
    assert glamm_true_positives(ious, similarity) == 0
    assert recalled(ious, similarity) == [(1, 1)]


@needs("gcg_metrics")
def test_glamms_own_scores() -> None:
    cases = load_file(GOLDENS / "gcg_metrics" / "gcg_cases.safetensors")
    expected = json.loads((GOLDENS / "gcg_metrics" / "gcg_expected.json").read_text())
    means, hits, targets = [], 0, 0
    for key, case in expected["cases"].items():
        ious, similarity = cases[f"{key}.iou_gt_x_pred"].T, cases[f"{key}.text_similarity"].T
        marks = [
            [GroundedMask(0, "", masks.encode(m.astype(bool))) for m in cases[f"{key}.{side}_masks"]]
            for side in ("pred", "gt")
        ]
        np.testing.assert_allclose(iou_matrix(*marks), ious, atol=1e-12)
        assert glamm_image_iou(ious) == pytest.approx(case["official_image_miou"], abs=1e-12)
        assert glamm_true_positives(ious, similarity) == case["true_positives"], case["name"]
        means.append(glamm_image_iou(ious))
        hits, targets = hits + glamm_true_positives(ious, similarity), targets + case["gt_count"]
    assert np.mean(means) == pytest.approx(expected["miou_mean"], abs=1e-12)
    assert hits / targets == pytest.approx(expected["recall"], abs=1e-12)


@given(MARKS, st.lists(MARK, min_size=1, max_size=3))
def test_identifiers_against_a_slow_reading(
    predicted: list[GroundedMask], targets: list[GroundedMask]
) -> None:
    named = placed = 0
    for way in pairings(predicted, targets):
        if all(semantic_iou(predicted[i].phrase, targets[j].phrase) >= 0.5 for i, j in way):
            named = max(named, len(way))
            if all(predicted[i].image_index == targets[j].image_index for i, j in way):
                placed = max(placed, len(way))
    assert value_of(m4seg_tallies(predicted, targets), "image_id_accuracy") == (placed, named)


def value_of(found: dict, name: str) -> tuple[float, float]:
    return found[name].value, found[name].weight


@given(MARKS, st.lists(MARK, min_size=1, max_size=3))
def test_cumulative_iou_counts_pixels(predicted: list[GroundedMask], targets: list[GroundedMask]) -> None:
    found = compare(predicted, targets)
    assigned = {j: i for i, j in found.pairs}
    above = below = 0
    for j, target in enumerate(targets):
        wanted = masks.decode(target.rle)
        drawn = masks.decode(predicted[assigned[j]].rle) if j in assigned else np.zeros_like(wanted)
        above, below = above + int((wanted & drawn).sum()), below + int((wanted | drawn).sum())
    assert value_of(m4seg_tallies(predicted, targets), "cumulative_iou") == (above, below)


@given(MARKS, st.lists(MARK, min_size=1, max_size=3))
def test_the_order_of_images_decides_nothing(
    predicted: list[GroundedMask], targets: list[GroundedMask]
) -> None:
    swapped = [
        [GroundedMask(1 - mark.image_index, mark.phrase, mark.rle) for mark in side]
        for side in (predicted, targets)
    ]
    found, other = m4seg_tallies(predicted, targets, alike()), m4seg_tallies(*swapped, alike())
    for name in found:
        assert value_of(other, name) == pytest.approx(value_of(found, name), abs=1e-6), name


def test_classes_weigh_alike_and_targets_are_told_singly() -> None:
    assert class_mean([("mug", 1.0), ("mug", 1.0), ("lamp", 0.0)]) == 0.5
    assert class_mean([]) is None
    full, empty = np.ones((3, 3), bool), np.zeros((3, 3), bool)
    target = GroundedMask(0, "mug", masks.encode(full))
    missed = GroundedMask(1, "lamp", masks.encode(full))
    found = target_scores(
        compare([GroundedMask(0, "red mug", masks.encode(full))], [target, missed], alike())
    )
    assert [(s.iou, s.words, s.recalled) for s in found] == [(1.0, 0.5, True), (0.0, 0.0, False)]
    assert target_scores(compare([], [GroundedMask(0, "", masks.encode(empty))])) == [
        TargetScore(0.0, 0.0, None, None)
    ]
