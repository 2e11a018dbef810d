"""HalluSegBench against a direct reading of its formulas; refusals and failures under the strict reading."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segue.metrics.hallusegbench import VARIANTS, confusion, official_tallies, strict_tallies
from segue.metrics.referring import RegionCounts
from segue.metrics.tally import score

MASK = arrays(bool, (3, 4))
PAIR = st.fixed_dictionaries({name: st.none() | st.tuples(MASK, MASK) for name in VARIANTS})


def counts(pair: tuple[np.ndarray, np.ndarray] | None) -> RegionCounts | None:
    if pair is None:
        return None
    return RegionCounts(int((pair[0] & pair[1]).sum()), int(pair[0].sum()), int(pair[1].sum()))


def slow_iou(pair: tuple[np.ndarray, np.ndarray]) -> float:
    union = (pair[0] | pair[1]).sum()
    return float((pair[0] & pair[1]).sum() / union) if union else 0.0


def slow_confusion(pair: tuple[np.ndarray, np.ndarray]) -> float:
    drawn, wanted = pair
    below = 3 * wanted.sum()
    return float((3 * (drawn & wanted).sum() + (drawn & ~wanted).sum()) / below) if below else 0.0


@given(st.lists(PAIR, min_size=1, max_size=5))
def test_against_a_direct_reading(pairs: list[dict[str, tuple[np.ndarray, np.ndarray] | None]]) -> None:
    found = [official_tallies({name: counts(pair) for name, pair in given.items()}) for given in pairs]

    def mean(name: str) -> float | None:
        return score(tallies[name] for tallies in found if name in tallies)

    def expected(values: list[float]) -> object:
        return pytest.approx(float(np.mean(values))) if values else None

    one, two, three = (
        [None if p[v] is None else slow_iou(p[v]) for p in pairs] for v in VARIANTS[:3]
    )  # fmt: skip
    assert mean("iou_factual") == expected([v for v in one if v is not None])
    textual = [a - b for a, b in zip(one, two, strict=True) if a is not None and b is not None]
    visual = [a - b for a, b in zip(one, three, strict=True) if a is not None and b is not None]
    assert mean("delta_iou_textual") == expected(textual)
    assert mean("delta_iou_visual") == expected(visual)
    confused = [
        tuple(None if p[v] is None else slow_confusion(p[v]) for v in ("edtl_orgi", "orgl_edti"))
        for p in pairs
    ]
    assert mean("confusion_factual") == expected([a for a, _ in confused if a is not None])
    assert mean("confusion_ratio") == expected([a / b for a, b in confused if a is not None and b])


def test_confusion_has_no_upper_bound() -> None:
    assert confusion(RegionCounts(1, 1, 1)) == 1.0
    assert confusion(RegionCounts(1, 10, 1)) == 4.0
    assert confusion(RegionCounts(0, 5, 0)) == 0.0


def test_refusals_and_failures_are_told_apart() -> None:
    right = RegionCounts(4, 4, 4)
    refused = {"orgl_orgi": right, "edtl_orgi": None, "orgl_edti": None, "edtl_edti": right}
    official, strict = official_tallies(refused), strict_tallies(refused)
    assert "delta_iou_textual" not in official, "a refusal leaves the pair out"
    assert strict["strict_delta_iou_textual"].value == 1.0
    assert strict["strict_confusion_factual"].value == 0.0
    failed = strict_tallies(refused, frozenset({"edtl_orgi"}))
    assert failed["strict_delta_iou_textual"].value == 0.0
    assert failed["strict_confusion_factual"].value == 1.0
    nothing = strict_tallies({})
    assert [nothing[f"strict_{n}"].value for n in ("iou_factual", "delta_iou_visual")] == [0.0, 0.0]
