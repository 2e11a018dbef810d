"""Two histories, one last request: what models get that use the history, and ones that do not."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segue.mini.evaluation import dialogue_dependence as module
from segue.mini.evaluation.dialogue_dependence import REQUESTS, Pair, dialogue_dependence, draw_pairs


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return list(draw_pairs(12, seed=3, size=96))


class Scripted:
    """A model whose last answer is chosen among the targets of the pair by `choose(pair, history)`."""

    def __init__(self, pairs: list[Pair], choose: Any) -> None:
        self.pairs, self.choose = iter([p for p in pairs for _ in range(2)]), choose

    def session(self, images: Any) -> Any:
        pair, asked = next(self.pairs), []

        def ask(text: str) -> Any:
            asked.append(text)
            chosen = self.choose(pair, asked[0]) if len(asked) == 2 else []
            return SimpleNamespace(
                groundings=[SimpleNamespace(image_index=t.image_index, mask=t.mask) for t in chosen]
            )

        return SimpleNamespace(ask=ask)


def test_the_pairs_differ_only_in_the_history(pairs: list[Pair]) -> None:
    assert {p.request for p in pairs} == set(REQUESTS)
    assert {len(p.images) for p in pairs} >= {1, 2}
    for pair in pairs:
        one, two = pair.targets
        assert one.history != two.history
        assert one.mask.any()
        assert two.mask.any()
        assert one.image_index != two.image_index or not (one.mask & two.mask).any()


def test_the_pairs_follow_the_seed(pairs: list[Pair]) -> None:
    again = next(draw_pairs(1, seed=3, size=96))
    assert again.targets[0].history == pairs[0].targets[0].history
    assert np.array_equal(np.asarray(again.images[0]), np.asarray(pairs[0].images[0]))


@pytest.mark.parametrize(
    ("choose", "difference"),
    [
        (lambda pair, history: [t for t in pair.targets if t.history == history], 1.0),
        (lambda pair, history: [t for t in pair.targets if t.history != history], -1.0),
        (lambda pair, history: [pair.targets[0]], 0.0),
        (lambda pair, history: list(pair.targets), 0.0),
        (lambda pair, history: [], 0.0),
    ],
    ids=["uses it", "confuses it", "ignores it", "shows both", "shows nothing"],
)
def test_what_models_get(
    pairs: list[Pair], choose: Any, difference: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "draw_pairs", lambda count, seed: iter(pairs))
    result = dialogue_dependence(Scripted(pairs, choose), count=len(pairs))  # type: ignore[arg-type]
    assert result["difference"] == pytest.approx(difference)
    assert set(result["by_request"]) == set(REQUESTS)


def test_the_command_runs_a_model(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    out = tmp_path / "result.json"
    monkeypatch.setattr("sys.argv", ["x", "--count", "1", "--out", str(out)])
    module.main()
    written = json.loads(out.read_text())
    assert written == json.loads(capsys.readouterr().out)
    assert -1.0 <= written["difference"] <= 1.0
    assert written["count"] == 1
