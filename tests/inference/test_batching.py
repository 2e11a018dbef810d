"""Conversations that are asked together get the answers that each would get alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from segue.errors import InputError
from segue.inference import LoadedModel
from segue.inference.batching import ask_together
from segue.inference.session import GroundingSession
from segue.models.segmenter_sam import SamSegmenter
from tiny_model import FAMILIES, QUESTIONS, picture


def conversations() -> list[tuple[list[Any], list[str]]]:
    """One, two and three images; one, two and three questions."""
    a, b, c = picture(), picture(30, 70, 200), picture(50, 40, 90)
    return [
        ([a], [QUESTIONS[1]]),
        ([a, b, c], list(QUESTIONS)),
        ([b, a], [QUESTIONS[0], QUESTIONS[2]]),
        ([c, b], ["What about the other one, and is it larger than the first?"]),
    ]


def same(one: Any, other: Any) -> None:
    assert (one.question, one.markup, one.text, one.notes) == (
        other.question, other.markup, other.text, other.notes,
    )  # fmt: skip
    assert one.finished == other.finished
    assert one.problems == other.problems
    assert len(one.groundings) == len(other.groundings)
    for ours, theirs in zip(one.groundings, other.groundings, strict=True):
        assert (ours.phrase, ours.span, ours.image_index) == (theirs.phrase, theirs.span, theirs.image_index)
        assert ours.mask.shape == theirs.mask.shape
        # Sums are rounded otherwise in a batch: pixels at the very threshold may differ.
        assert (ours.mask != theirs.mask).mean() < 0.002


@pytest.mark.parametrize("tiny_model", FAMILIES, indirect=True)
@pytest.mark.parametrize("batch_size", [2, 3, 8])
def test_together_as_alone(tiny_model: LoadedModel, batch_size: int) -> None:
    found = tiny_model.ask_many(conversations(), batch_size=batch_size, max_new_tokens=40)
    assert sum(len(answer.groundings) for answers in found for answer in answers) >= 6
    for (images, questions), answers in zip(conversations(), found, strict=True):
        session = tiny_model.session(images)
        assert len(answers) == len(questions)
        for question, answer in zip(questions, answers, strict=True):
            same(answer, session.ask(question, max_new_tokens=40))


def test_a_picture_of_several_conversations_is_encoded_and_drawn_in_once(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    decoded: list[tuple[int, int]] = []
    encode, decode = SamSegmenter.encode, SamSegmenter.decode

    def note_encoding(self: SamSegmenter, pixels: Any) -> Any:
        encoded.append(len(pixels))
        return encode(self, pixels)

    def note_decoding(self: SamSegmenter, features: Any, prompts: Any) -> Any:
        decoded.append((len(next(iter(features.values()))), len(prompts.image_index)))
        return decode(self, features, prompts)

    monkeypatch.setattr(SamSegmenter, "encode", note_encoding)
    monkeypatch.setattr(SamSegmenter, "decode", note_decoding)
    a, b, c = picture(), picture(shade=200), picture(shade=20)
    tiny_model.ask_many([([a, b], QUESTIONS[0]), ([b, a], QUESTIONS[0]), ([b, c, a], QUESTIONS[0])])
    assert encoded == [1, 1, 1]
    assert decoded == [(3, 6)]


def test_a_question_that_fails_costs_itself_only(tiny_model: LoadedModel) -> None:
    images = [picture(), picture(shade=200)]
    sessions = [tiny_model.session(images) for _ in range(3)]
    outcomes = ask_together(sessions, [QUESTIONS[0], "  ", QUESTIONS[0]])
    assert isinstance(outcomes[1], InputError)
    assert [len(session.history) for session in sessions] == [1, 0, 1]
    same(outcomes[0], tiny_model.ask(QUESTIONS[0], images))
    with pytest.raises(InputError, match="question"):
        tiny_model.ask_many([(images, QUESTIONS[0]), (images, " ")])


def test_where_the_batch_fails_each_is_asked_alone(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    import segue.inference.batching as module

    def fail(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("no room for so many")

    monkeypatch.setattr(module, "generate_many", fail)
    images = [picture(), picture(shade=200)]
    (first,), (second,) = tiny_model.ask_many([(images, QUESTIONS[0]), (images[::-1], QUESTIONS[0])])
    same(first, tiny_model.ask(QUESTIONS[0], images))
    same(second, tiny_model.ask(QUESTIONS[0], images[::-1]))


def test_where_the_context_leaves_less_than_the_budget_a_session_is_asked_alone(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone: list[str] = []
    ask = GroundingSession.ask

    def note(self: GroundingSession, text: str, **options: Any) -> Any:
        alone.append(text)
        return ask(self, text, **options)

    monkeypatch.setattr(GroundingSession, "ask", note)
    context = tiny_model.model.config.text_config.max_position_embeddings
    images = [picture(), picture(shade=200)]
    tiny_model.ask_many([(images, QUESTIONS[0]), (images, QUESTIONS[1])], max_new_tokens=context)
    assert alone == list(QUESTIONS[:2])


def test_budgets_and_sizes_that_make_no_sense(tiny_model: LoadedModel) -> None:
    with pytest.raises(InputError, match="batch_size"):
        tiny_model.ask_many([([picture()], "What?")], batch_size=0)
    with pytest.raises(InputError, match="max_new_tokens"):
        tiny_model.ask_many([([picture()], "What?")], max_new_tokens=0)
    assert tiny_model.ask_many([]) == []


def test_masks_are_those_of_the_whole_picture(tiny_model: LoadedModel) -> None:
    images = [picture(31, 77), picture(64, 20, 200)]
    (answer,), _ = tiny_model.ask_many([(images, QUESTIONS[0]), ([images[0]], QUESTIONS[0])])
    assert [g.mask.shape for g in answer.groundings] == [(31, 77), (64, 20)]
    assert all(g.mask.dtype == np.bool_ for g in answer.groundings)
