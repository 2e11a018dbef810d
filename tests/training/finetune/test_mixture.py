"""A mixture keeps its shares, and each example depends on its own numbers alone."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from segue.errors import InputError
from segue.training.finetune.mixture import Mixture


def source(name: str, length: int = 5) -> Any:
    """Draws tell which source they are from, and the number that the generator gave."""
    return type(
        "Source",
        (),
        {
            "root": Path(name),
            "__len__": lambda self: length,
            "draw": lambda self, rng: SimpleNamespace(name=name, number=int(rng.integers(2**40))),
            "fixed": lambda self, count, seed: [],
        },
    )()


def names(mixture: Mixture, count: int) -> list[str]:
    return [str(mixture.draw(step, 3).root) for step in range(count)]


def test_weights_are_shares() -> None:
    mixture = Mixture([source("a"), source("b"), source("c")], [2.0, 6.0, 2.0])
    assert mixture.shares == (0.2, 0.6, 0.2)
    drawn = names(mixture, 4000)
    # Four standard deviations of a share p among 4000 draws are 4 sqrt(p (1 - p) / 4000) < 0.032.
    for name, share in zip("abc", mixture.shares, strict=True):
        assert drawn.count(name) / 4000 == pytest.approx(share, abs=0.032)


def test_without_weights_every_conversation_counts_the_same() -> None:
    mixture = Mixture([source("small", 10), source("large", 30)])
    assert mixture.shares == (0.25, 0.75)
    assert len(mixture) == 40


def test_an_example_depends_on_its_numbers_alone() -> None:
    mixture = Mixture([source("a"), source("b")], seed=7)
    forward = [mixture.draw(s, i).conversation for s in range(4) for i in range(3)]
    backward = [mixture.draw(s, i).conversation for s in reversed(range(4)) for i in reversed(range(3))]
    assert forward == backward[::-1]
    assert len({c.number for c in forward}) == 12
    rng = np.random.default_rng([7, 2, 1])
    rng.random()  # which source
    assert mixture.draw(2, 1).conversation.number == int(rng.integers(2**40))
    assert mixture.draw(2, 1, attempt=1).conversation != mixture.draw(2, 1).conversation
    assert Mixture([source("a"), source("b")], seed=8).draw(2, 1).conversation.number != forward[7].number


def test_global_random_states_are_neither_read_nor_moved() -> None:
    mixture = Mixture([source("a"), source("b")])
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    first = names(mixture, 50)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    random.seed(2), np.random.seed(2), torch.manual_seed(2)  # noqa: NPY002
    assert names(mixture, 50) == first
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    assert states == (
        random.getstate(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
        torch.get_rng_state().tolist(),
    )


@pytest.mark.parametrize(
    ("sources", "weights", "said"),
    [
        ([], None, "no source"),
        ([source("a"), source("b", 0)], None, "source 2 is empty"),
        ([source("a")], [1.0, 2.0], "weights"),
        ([source("a"), source("b")], [1.0, 0.0], "weights"),
        ([source("a"), source("b")], [1.0, float("nan")], "weights"),
    ],
)
def test_mixtures_that_cannot_be(sources: Any, weights: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Mixture(sources, weights)
