"""AP50 against a slow reading of COCO's rule, and that no order decides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segue import masks
from segue.metrics.average_precision import average_precision

SIDE = st.lists(arrays(bool, (3, 4)).filter(np.any).map(masks.encode), max_size=3)
IMAGES = st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=3)


def slow_ap50(images: list[tuple[list[masks.RLE], list[masks.RLE]]]) -> float | None:
    """COCO's rule by hand: greedy hits in rank order, precision made monotone, read at 101 recalls."""
    sides = [tuple(sorted(s, key=lambda r: r["counts"]) for s in image) for image in images]
    sides.sort(key=lambda image: [[r["counts"] for r in s] for s in image[::-1]])
    total = sum(len(wanted) for _, wanted in sides)
    if not total:
        return None
    hits: list[bool] = []
    for drawn, wanted in sides:
        free = set(range(len(wanted)))
        for mask in drawn:
            best = [(masks.iou(mask, wanted[j]), j) for j in free if masks.iou(mask, wanted[j]) >= 0.5]
            hits.append(bool(best))
            if best:
                # COCO keeps the last of equals.
                free.remove(max(best)[1])
    precision = [sum(hits[: k + 1]) / (k + 1) for k in range(len(hits))]
    recall = [sum(hits[: k + 1]) / total for k in range(len(hits))]
    read = [
        max((p for p, r in zip(precision, recall) if r >= level), default=0.0)
        for level in np.linspace(0, 1, 101)
    ]
    return float(np.mean(read))


@settings(max_examples=12)
@given(IMAGES, st.randoms(use_true_random=False))
def test_against_a_slow_reading_in_any_order(images: list, random) -> None:
    found = average_precision(images)["ap50"]
    expected = slow_ap50(images)
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-9))
    mixed = [tuple(random.sample(side, len(side)) for side in image) for image in images]
    random.shuffle(mixed)
    assert average_precision(mixed)["ap50"] == found


def test_perfect_missing_and_none() -> None:
    mask = masks.encode(np.eye(4, dtype=bool))
    assert average_precision([([mask], [mask])]) == {"ap": pytest.approx(1.0), "ap50": pytest.approx(1.0)}
    assert average_precision([([], [mask])]) == {"ap": 0.0, "ap50": 0.0}
    assert average_precision([([mask], [])]) == {"ap": None, "ap50": None}
