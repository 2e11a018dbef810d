"""The head that is shown where to look: positions, targets, gradients, and agreement with real attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from segue.mini.pointing import (
    UNKNOWN,
    WORDS,
    AttentionInputs,
    PointedStates,
    pointed_states,
    pointing_loss,
)

P, SEG, IMAGE = 5, 4, 3
IDS = torch.tensor(
    [
        [1, IMAGE, IMAGE, IMAGE, 20, P, 21, 22, 6, SEG, 7, P, 23, 24, 6, SEG, 8],
        [1, IMAGE, IMAGE, IMAGE] + [20] * 13,
    ]
)
LABELS = IDS.masked_fill(IDS < 4, -100)


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


def states(targets: list[int], ids: torch.Tensor = IDS, labels: torch.Tensor = LABELS) -> Any:
    """States of names and ahead of them; every target is the place of one visual token."""
    places = torch.tensor([(t, t if t == UNKNOWN else t + 1) for t in targets], dtype=torch.long)
    tags = {"image_token_id": IMAGE, "phrase_token_id": P, "seg_token_id": SEG}
    return pointed_states(ids, labels, places.reshape(-1, 2), **tags)


def loss(seen: AttentionInputs, targets: list[int], total: float | None = None) -> tuple[torch.Tensor, float]:
    return pointing_loss(*seen.queries_and_keys(), states(targets)[0], total)


def seen_from(found: PointedStates, row: int = 0) -> dict[int, range]:
    """Column of each state of a row, and the columns that it should see."""
    every = zip(found.rows, found.columns, found.starts, found.stops, strict=True)
    return {column: range(start, stop) for r, column, start, stop in every if r == row}


def test_names_and_what_stands_ahead_of_them() -> None:
    names, ahead = states([0, 2])
    first, second, nothing = range(1, 2), range(3, 4), range(1)
    assert seen_from(names) == {5: first, 6: first, 11: second, 12: second}
    assert seen_from(ahead) == {3: first, 4: first, 10: second}, "the last [SEG]'s identifier ends the answer"
    assert seen_from(ahead, 1) == dict.fromkeys(range(3, 16), nothing), "an answer that names nothing"


def test_an_answer_begins_where_the_one_before_it_ended() -> None:
    ids = torch.tensor([[1, IMAGE, IMAGE, 30, 20, P, 21, 22, SEG, 7, 9, 31, 32, 20, P, 23, 24, SEG, 7, 9, 2]])
    labels = ids.clone()
    labels[:, :4] = labels[:, 11:13] = -100
    names, ahead = states([1, 0], ids, labels)
    first, second, nothing = range(2, 3), range(1, 2), range(1)
    assert seen_from(names) == {5: first, 6: first, 14: second, 15: second}
    assert seen_from(ahead) == {
        **{3: first, 4: first, 9: nothing},
        **{12: second, 13: second, 18: nothing, 19: nothing},
    }


def test_phrases_that_say_nothing_of_their_place() -> None:
    names, ahead = states([UNKNOWN, 2])
    assert seen_from(names) == {11: range(3, 4), 12: range(3, 4)}
    assert seen_from(ahead) == {10: range(3, 4)}
    bare = torch.tensor([[1, IMAGE, 20, SEG, 7, P, 20, 21, SEG, 7, 2]])
    labels = bare.clone()
    labels[0, :2] = -100
    names, ahead = states([0, 0], bare, labels)
    assert seen_from(names) == {5: range(1, 2), 6: range(1, 2)}, "the first [SEG] has no phrase"
    assert seen_from(ahead) == {4: range(1, 2), 9: range(1)}


def test_a_photograph_may_be_seen_anywhere(run: Callable[..., Any]) -> None:
    _model, seen, output = run()
    attention = output.attentions[0][0, 0]
    tags = {"image_token_id": IMAGE, "phrase_token_id": P, "seg_token_id": SEG}
    names, _ = pointed_states(IDS, LABELS, torch.tensor([[0, 2], [UNKNOWN, UNKNOWN]]), **tags)
    by_hand = -torch.stack([attention[c, 1:3].sum().log() for c in (5, 6)]).mean()
    assert float(pointing_loss(*seen.queries_and_keys(), names)[0].detach()) == pytest.approx(
        float(by_hand.detach()), rel=1e-4
    )


def test_it_is_the_attention_of_that_head(run: Callable[..., Any]) -> None:
    _model, seen, output = run()
    attention = output.attentions[0][0, 0]
    columns, goals = [5, 6, 11, 12], [1, 1, 3, 3]
    assert WORDS == 2
    by_hand = -torch.stack([attention[c, g].log() for c, g in zip(columns, goals, strict=True)]).mean()
    found, right = loss(seen, [0, 2])
    assert float(found.detach()) == pytest.approx(float(by_hand.detach()), rel=1e-4)
    best = [int(attention[c].argmax()) for c in columns]
    assert right == pytest.approx(sum(b == g for b, g in zip(best, goals, strict=True)) / 4)


def test_phrases_without_a_slot_do_not_count(run: Callable[..., Any]) -> None:
    _, seen, _ = run()
    both, first = loss(seen, [0, 2])[0], loss(seen, [0, UNKNOWN])[0]
    second = loss(seen, [UNKNOWN, 2])[0]
    assert float(both.detach()) == pytest.approx(float((first + second).detach()) / 2, rel=1e-5)
    shared = loss(seen, [0, UNKNOWN], total=4.0)[0] + loss(seen, [UNKNOWN, 2], total=4.0)[0]
    assert float(both.detach()) == pytest.approx(float(shared.detach()), rel=1e-5), "parts of a step add up"
    none, right = loss(seen, [UNKNOWN, UNKNOWN])
    assert (float(none.detach()), right) == (0.0, 0.0)


def test_it_teaches_that_layer_and_those_below(run: Callable[..., Any]) -> None:
    model, seen, _ = run()
    model.zero_grad()
    before, _ = loss(seen, [0, 2])
    before.backward()
    attention = model.language_model.model.layers[0].self_attn
    assert attention.q_proj.weight.grad.abs().sum() > 0
    assert attention.k_proj.weight.grad.abs().sum() > 0
    with torch.no_grad():
        for p in (attention.q_proj.weight, attention.k_proj.weight):
            p -= 0.05 * p.grad / p.grad.norm()
    _, again, _ = run()
    assert float(loss(again, [0, 2])[0]) < float(before)


def test_it_stops_watching(run: Callable[..., Any]) -> None:
    model, seen, _ = run()
    kept = seen.hidden
    model.language_model.model(inputs_embeds=model.get_input_embeddings()(IDS))
    assert seen.hidden is kept
