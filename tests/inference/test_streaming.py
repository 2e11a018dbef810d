"""Events of a growing answer: text, phrases and masks, each as soon as it is certain."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from segue.errors import InputError
from segue.inference import Done, LoadedModel, MaskReady, PhraseOpened, TextDelta
from segue.inference.streaming import events_of
from segue.models.segmenter_sam import SamSegmenter
from tiny_model import picture


def pictures() -> list[Any]:
    return [picture(), picture(shade=200)]


def test_streamed_and_whole_answers_are_equal(tiny_model: LoadedModel) -> None:
    events = list(tiny_model.session(pictures()).stream("Which is larger?"))
    whole = tiny_model.session(pictures()).ask("Which is larger?")
    assert isinstance(events[-1], Done)
    answer = events[-1].answer
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == answer.text == whole.text
    assert answer.markup == whole.markup
    ready = [e for e in events if isinstance(e, MaskReady)]
    assert [e.index for e in ready] == list(range(len(whole.groundings)))
    for event, streamed, drawn in zip(ready, answer.groundings, whole.groundings, strict=True):
        assert event.grounding.mask is streamed.mask
        assert (streamed.phrase, streamed.span, streamed.image_index) == (
            drawn.phrase, drawn.span, drawn.image_index,
        )  # fmt: skip
        # One prompt a call rounds otherwise than two: single pixels at the threshold may differ.
        assert (streamed.mask != drawn.mask).mean() < 0.01


def test_masks_come_before_the_end_of_the_text_and_after_their_phrase(tiny_model: LoadedModel) -> None:
    kinds = [type(event) for event in tiny_model.session(pictures()).stream("Which is larger?")]
    first = kinds.index(MaskReady)
    assert kinds.index(PhraseOpened) < first
    assert TextDelta in kinds[first:], "the first mask must not wait for the last word"
    assert kinds.count(PhraseOpened) == kinds.count(MaskReady) == 2


def test_phrases_begin_where_they_stand_in_the_text(tiny_model: LoadedModel) -> None:
    events = list(tiny_model.session(pictures()).stream("Which is larger?"))
    answer = events[-1].answer
    opened = [e for e in events if isinstance(e, PhraseOpened)]
    for event, grounding in zip(opened, answer.groundings, strict=True):
        # The blank before a phrase is held back until the phrase itself is there.
        assert grounding.span[0] - 1 <= event.start <= grounding.span[0]


def test_a_listener_who_leaves_stops_the_answer(tiny_model: LoadedModel) -> None:
    before = set(threading.enumerate())
    session = tiny_model.session(pictures())
    listening = session.stream("Which is larger?")
    assert isinstance(next(listening), TextDelta | PhraseOpened)
    listening.close()
    assert session.history == ()
    assert set(threading.enumerate()) <= before
    assert session.ask("Which is larger?").finished


def test_a_failure_is_raised_where_somebody_listens(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = tiny_model.session(pictures())
    monkeypatch.setattr(tiny_model.model, "draw_masks", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(session.stream("Which is larger?"))
    assert session.history == ()
    with pytest.raises(InputError, match="question"):
        session.stream("  ")


def test_the_segmenter_works_while_text_is_generated_and_once_per_image(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    encode = SamSegmenter.encode

    def noted(self: SamSegmenter, pixels: Any) -> Any:
        seen.append(threading.current_thread().name)
        return encode(self, pixels)

    monkeypatch.setattr(SamSegmenter, "encode", noted)
    session = tiny_model.session(pictures())
    list(session.stream("Which is larger?"))
    list(session.stream("And the other one?"))
    # Either thread may come first; never do both encode the same image.
    assert len(seen) == 2


def test_masks_are_there_before_the_text_ends_though_the_segmenter_is_slow(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # About 30 tokens of 20 ms, and 150 ms for each of two images.
    steps: list[float] = []
    spans: list[tuple[float, float]] = []
    encode = SamSegmenter.encode

    def slow(self: SamSegmenter, pixels: Any) -> Any:
        begun = time.perf_counter()
        time.sleep(0.15)
        found = encode(self, pixels)
        spans.append((begun, time.perf_counter()))
        return found

    def step(*_: Any) -> None:
        steps.append(time.perf_counter())
        time.sleep(0.02)

    monkeypatch.setattr(SamSegmenter, "encode", slow)
    hook = tiny_model.model.final_norm.register_forward_hook(step)
    try:
        at = [
            (time.perf_counter(), event)
            for event in tiny_model.session(pictures()).stream("Which is larger?")
        ]
    finally:
        hook.remove()
    masks = [when for when, event in at if isinstance(event, MaskReady)]
    words = [when for when, event in at if isinstance(event, TextDelta)]
    assert len(masks) == len(spans) == 2
    assert masks[0] < words[-1] - 0.1, "with several tokens still to come"
    # Tokens were generated while the segmenter looked at an image.
    assert any(begun < when < ended for begun, ended in spans for when in steps)


def test_images_that_nothing_lies_in_are_not_waited_for(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, seen = threading.Event(), []
    encode = SamSegmenter.encode

    def slow(self: SamSegmenter, pixels: Any) -> Any:
        seen.append(1)
        assert done.wait(10)
        time.sleep(0.1)
        return encode(self, pixels)

    monkeypatch.setattr(SamSegmenter, "encode", slow)
    session = tiny_model.session([*pictures(), picture(30, 30, 99), picture(30, 30, 9)])
    understand = session._understand
    monkeypatch.setattr(session, "_understand", lambda *given: done.set() or understand(*given))
    answer = list(session.stream("Which is larger?", max_new_tokens=2))[-1].answer
    assert answer.groundings == []
    assert len(seen) < 4, "two words need no image encoded to the end but the one that is under way"


def test_events_reach_the_listener_while_the_call_runs() -> None:
    told = threading.Event()

    def run(tell: Any) -> Any:
        tell(TextDelta("a"))
        assert told.wait(10), "the first event must arrive before the call ends"
        return "answer"

    events = events_of(run)
    assert next(events) == TextDelta("a")
    told.set()
    assert next(events) == Done("answer")  # type: ignore[arg-type]
    assert next(events, None) is None


def test_a_slow_listener_loses_nothing() -> None:
    def run(tell: Any) -> Any:
        for k in range(50):
            tell(TextDelta(str(k)))
        return None

    found = []
    for event in events_of(run):
        time.sleep(0.001)
        found.append(event)
    assert [e.text for e in found[:-1]] == [str(k) for k in range(50)]
    assert np.all([isinstance(e, TextDelta) for e in found[:-1]])
