"""The confidence in a phrase is the model's own probability of its tokens, however the answer was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import LogitsProcessor, LogitsProcessorList

from segue.inference.streaming import Done, MaskReady
from segue.models.region_alignment import phrases_of
from segue.records.presence import Calibration
from tiny_model import FAMILIES, QUESTIONS, picture

if TYPE_CHECKING:
    from segue.inference import LoadedModel

of_all_families = pytest.mark.parametrize("tiny_model", FAMILIES, indirect=True)


class Recorder(LogitsProcessor):
    """Keeps the logits of every step and forbids what was likeliest in the third: a grammar of its own."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.steps.append(scores[0].float().clone())
        return scores


def asked(model: LoadedModel) -> Any:
    return model.session([picture(30, 90), picture(101, 57, 200)])


@of_all_families
def test_it_is_the_probability_of_each_step(tiny_model: LoadedModel) -> None:
    recorder = Recorder()
    answer = asked(tiny_model).ask(
        QUESTIONS[0], constrained=False, logits_processor=LogitsProcessorList([recorder])
    )
    assert len(answer.groundings) == 2
    ids = tiny_model.processor.tokenizer(answer.markup, add_special_tokens=False)["input_ids"]
    places = phrases_of(ids, *tiny_model.model.phrase_tokens)
    segs = [k for k, i in enumerate(ids) if i == tiny_model.model.config.seg_token_id]
    for grounding, phrase, seg in zip(answer.groundings, places, segs, strict=True):
        steps = [recorder.steps[k].log_softmax(-1)[ids[k]] for k in (*phrase, seg)]
        assert grounding.presence is not None
        assert grounding.presence.text == pytest.approx(float(torch.stack(steps).mean().exp()), abs=1e-5)
        assert grounding.presence.mask == grounding.score
        assert not grounding.presence.calibrated


@of_all_families
def test_streams_and_batches_say_the_same(tiny_model: LoadedModel) -> None:
    alone = asked(tiny_model).ask(QUESTIONS[0])
    ready: list[Any] = []
    for event in asked(tiny_model).stream(QUESTIONS[0]):
        if isinstance(event, MaskReady):
            ready.append(event.grounding.presence)
        elif isinstance(event, Done):
            streamed = [g.presence for g in event.answer.groundings]
    together = tiny_model.ask_many([([picture(30, 90), picture(101, 57, 200)], QUESTIONS[0])] * 2)
    batched = [g.presence for g in together[1][0].groundings]
    assert ready == streamed
    for other in (streamed, batched):
        for mine, theirs in zip((g.presence for g in alone.groundings), other, strict=True):
            assert mine is not None
            assert theirs is not None
            assert theirs.text == pytest.approx(mine.text, abs=1e-5)
            assert theirs.score == pytest.approx(mine.score, abs=1e-4)


def test_a_session_takes_the_models_calibration(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibration = Calibration({"text": 1.5}, 0.25)
    monkeypatch.setattr(tiny_model, "calibration", calibration)
    for grounding in asked(tiny_model).ask(QUESTIONS[0]).groundings:
        presence = grounding.presence
        assert presence is not None
        assert presence.calibrated
        assert presence.score == calibration.probability(presence.mask, presence.text)
