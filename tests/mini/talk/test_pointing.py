"""The head that is shown where to look: positions, targets, gradients, and agreement with real attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from segue.errors import InputError
from segue.mini.talk.pointing import AttentionInputs, PointedStates, pointing_loss

P, SEG, IMAGE = 5, 4, 3
IDS = torch.tensor(
    [
        [1, IMAGE, IMAGE, IMAGE, 20, P, 21, 22, 6, SEG, 7, P, 23, 24, 6, SEG, 8],
        [1, IMAGE, IMAGE, IMAGE] + [20] * 13,
    ]
)
FIRST, SECOND = dict.fromkeys((5, 6), range(1, 2)), dict.fromkeys((11, 12), range(3, 4))
"""Columns of the first row's two phrases, and the visual token that each names."""
BOTH = FIRST | SECOND


@pytest.fixture
def run(tiny: Callable[..., Any]) -> Callable[..., AttentionInputs]:
    """Runs the language model of a tiny model over embeddings of `IDS`, watching a head."""
    model = tiny()[0]
    model.language_model.set_attn_implementation("eager")

    def watched(layer: int = 0, head: int = 0) -> Any:
        torch.manual_seed(0)
        seen = AttentionInputs(model, layer, head)
        embeds = model.get_input_embeddings()(IDS)
        with seen:
            output = model.language_model.model(inputs_embeds=embeds, output_attentions=True)
        return model, seen, output

    return watched


def states(goals: dict[int, range]) -> PointedStates:
    """States of the first row, by column, and what each should see."""
    found = PointedStates()
    for column, seen in goals.items():
        found.add(0, range(column, column + 1), seen)
    return found


def loss(
    seen: AttentionInputs, goals: dict[int, range], total: float | None = None
) -> tuple[torch.Tensor, float]:
    return pointing_loss(*seen.queries_and_keys(), states(goals), total)


def test_states_of_one_row_may_see_the_same() -> None:
    found = PointedStates()
    found.add(1, range(5, 8), range(2, 4))
    assert len(found) == 3
    assert (found.rows, found.columns) == ([1, 1, 1], [5, 6, 7])
    assert (found.starts, found.stops) == ([2, 2, 2], [4, 4, 4])


def test_several_tokens_may_be_seen(run: Callable[..., Any]) -> None:
    _model, seen, output = run()
    attention = output.attentions[0][0, 0]
    by_hand = -torch.stack([attention[c, 1:3].sum().log() for c in (5, 6)]).mean()
    found, _ = loss(seen, dict.fromkeys((5, 6), range(1, 3)))
    assert float(found.detach()) == pytest.approx(float(by_hand.detach()), rel=1e-4)


def test_it_is_the_attention_of_that_head(run: Callable[..., Any]) -> None:
    _model, seen, output = run()
    attention = output.attentions[0][0, 0]
    columns, goals = [5, 6, 11, 12], [1, 1, 3, 3]
    by_hand = -torch.stack([attention[c, g].log() for c, g in zip(columns, goals, strict=True)]).mean()
    found, right = loss(seen, BOTH)
    assert float(found.detach()) == pytest.approx(float(by_hand.detach()), rel=1e-4)
    best = [int(attention[c].argmax()) for c in columns]
    assert right == pytest.approx(sum(b == g for b, g in zip(best, goals, strict=True)) / 4)


def test_parts_of_a_step_add_up(run: Callable[..., Any]) -> None:
    _, seen, _ = run()
    whole, first, second = (loss(seen, goals)[0].detach() for goals in (BOTH, FIRST, SECOND))
    assert float(whole) == pytest.approx(float(first + second) / 2, rel=1e-5)
    shared = loss(seen, FIRST, total=4.0)[0] + loss(seen, SECOND, total=4.0)[0]
    assert float(whole) == pytest.approx(float(shared.detach()), rel=1e-5)
    none, right = loss(seen, {})
    assert (float(none.detach()), right) == (0.0, 0.0)


def test_a_head_that_is_not_there_is_named(tiny: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"\(7, 0\)"):
        AttentionInputs(tiny()[0], 7, 0)


def test_it_teaches_that_layer_and_those_below(run: Callable[..., Any]) -> None:
    model, seen, _ = run()
    model.zero_grad()
    before, _ = loss(seen, BOTH)
    before.backward()
    attention = model.language_model.model.layers[0].self_attn
    assert attention.q_proj.weight.grad.abs().sum() > 0
    assert attention.k_proj.weight.grad.abs().sum() > 0
    with torch.no_grad():
        for p in (attention.q_proj.weight, attention.k_proj.weight):
            p -= 0.05 * p.grad / p.grad.norm()
    _, again, _ = run()
    assert float(loss(again, BOTH)[0]) < float(before)


def test_it_stops_watching(run: Callable[..., Any]) -> None:
    model, seen, _ = run()
    kept = seen.hidden
    model.language_model.model(inputs_embeds=model.get_input_embeddings()(IDS))
    assert seen.hidden is kept
