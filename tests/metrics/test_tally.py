"""Ratios of sums, and intervals that hold what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.metrics.tally import Tally, bootstrap, score, scores

TALLIES = st.lists(st.tuples(st.floats(0, 5), st.integers(0, 5)).map(lambda pair: Tally(*pair)), max_size=9)


def test_by_hand() -> None:
    assert score([Tally(1, 2), Tally(3, 3)]) == pytest.approx(4 / 5)
    assert score([Tally(0, 0)]) is None
    assert score([]) is None
    assert scores([{"a": Tally(1, 1)}, {"a": Tally(0, 1), "b": Tally(2, 4)}]) == {"a": 0.5, "b": 0.5}


@given(TALLIES, st.randoms(use_true_random=False))
def test_the_order_of_samples_changes_nothing(tallies: list[Tally], rng: object) -> None:
    shuffled = list(tallies)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert score(shuffled) == pytest.approx(score(tallies))


def test_an_interval_holds_the_mean_of_the_population_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for trial in range(200):
        samples = [{"x": Tally(v, 1)} for v in rng.random(40)]
        found = bootstrap(samples, drawings=200, share=0.9, seed=trial)["x"]
        assert found is not None
        held += found.low <= 0.5 <= found.high
    # 180 of 200 are promised; percentile intervals of 40 samples hold a little less.
    assert 160 <= held <= 196


def test_samples_are_drawn_whole_and_deterministically() -> None:
    # Three targets stand or fall together: the spread is that of 2 samples, not of 6 targets.
    samples = [{"recall": Tally(3, 3)}, {"recall": Tally(0, 3)}]
    found = bootstrap(samples, seed=3)["recall"]
    assert found == bootstrap(samples, seed=3)["recall"]
    assert found is not None
    assert (found.low, found.high) == (0.0, 1.0)


def test_of_one_sample_nothing_can_be_said() -> None:
    found = bootstrap([{"a": Tally(1, 1)}, {"b": Tally(1, 1)}, {"b": Tally(1, 1)}])
    assert found["a"] is None
    assert found["b"] is not None
    assert bootstrap([]) == {}
