"""The head that is shown where to look: positions, targets, gradients, and agreement with real attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from segue.training.pointing import UNKNOWN, WORDS, AttentionInputs, phrase_rows, pointing_loss

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


def loss(seen: AttentionInputs, targets: list[int], total: float | None = None) -> tuple[torch.Tensor, float]:
    return pointing_loss(
        seen,
        IDS,
        LABELS,
        torch.tensor(targets),
        image_token_id=IMAGE,
        phrase_token_id=P,
        seg_token_id=SEG,
        total=total,
    )


def test_every_seg_has_the_place_of_its_phrase() -> None:
    assert phrase_rows(IDS, LABELS, P, SEG) == [(0, 5), (0, 11)]
    bare = torch.tensor([[1, SEG, P, 20, SEG]])
    assert phrase_rows(bare, bare, P, SEG) == [(0, UNKNOWN), (0, 2)]
    asked = bare.clone()
    asked[0, 1] = -100
    assert phrase_rows(bare, asked, P, SEG) == [(0, 2)], "a [SEG] of the question is not counted"


def test_it_is_the_attention_of_that_head(run: Callable[..., Any]) -> None:
    _model, seen, output = run()
    attention = output.attentions[0][0, 0]
    columns, goals = [5, 6, 11, 12], [1, 1, 3, 3]
    assert WORDS == 2
    by_hand = -torch.stack([attention[c, g].log() for c, g in zip(columns, goals, strict=True)]).mean()
    found, right = loss(seen, [0, 2])
    assert float(found.detach()) == pytest.approx(float(by_hand.detach()), rel=1e-4)
    best = [int(attention[c, 1:4].argmax()) + 1 for c in columns]
    assert right == pytest.approx(sum(b == g for b, g in zip(best, goals, strict=True)) / 4)


def test_phrases_without_a_slot_do_not_count(run: Callable[..., Any]) -> None:
    _, seen, _ = run()
    both, first = loss(seen, [0, 2])[0], loss(seen, [0, UNKNOWN])[0]
    second = loss(seen, [UNKNOWN, 2])[0]
    assert float(both) == pytest.approx(float(first + second) / 2, rel=1e-5)
    shared = loss(seen, [0, UNKNOWN], total=2.0)[0] + loss(seen, [UNKNOWN, 2], total=2.0)[0]
    assert float(both) == pytest.approx(float(shared), rel=1e-5), "parts of a step add up"
    none, right = loss(seen, [UNKNOWN, UNKNOWN])
    assert (float(none), right) == (0.0, 0.0)


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
