"""Replicas on Ray Serve behind the same API; errors on the way, without Ray."""

from __future__ import annotations

import asyncio
import pickle
import signal
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from segue import masks
from segue.apps.server.engine import Job, events_of_job
from segue.apps.server.errors import ApiError, refusal
from segue.apps.server.ray_engine import RayEngine, _without_pictures
from segue.apps.server.regions import Mark
from segue.apps.server.sampling import Sampling
from segue.apps.server.settings import Settings
from segue.cli import main
from segue.inference import Region
from segue.inference.answer import SessionAnswer
from segue.inference.streaming import Done, TextDelta
from serving import file_of, form_of, serving_process, shown, two
from tiny_model import TEXT

DONE = Done(SessionAnswer("?", "word", "word"))


class FakeStream:
    """A stream of events of a replica; remembers whether it was cancelled."""

    def __init__(self, events: list[Any]) -> None:
        self.events, self.cancelled = events, False

    async def __aiter__(self) -> AsyncIterator[Any]:
        for event in self.events:
            if isinstance(event, Exception) and not isinstance(event, ApiError):
                raise event
            yield event
        if self.events[-1] is not DONE:
            await asyncio.sleep(60)

    def cancel(self) -> None:
        self.cancelled = True


class FakeHandle:
    """Stands for a deployment's handle."""

    def __init__(self, *events: Any) -> None:
        self.stream = FakeStream(list(events))

    def options(self, stream: bool) -> FakeHandle:
        return self

    @property
    def answer(self) -> Any:
        class Method:
            @staticmethod
            def remote(*asked: Any) -> FakeStream:
                return self.stream

        return Method


def told(handle: FakeHandle, most: int = 9) -> tuple[list[Any], RayEngine]:
    """Events of a job, at most so many."""
    engine = RayEngine(handle, Settings(), "tiny")

    async def run() -> list[Any]:
        found = []
        events = events_of_job(Job([], [], "?", Sampling(9), True), engine)
        async for event in events:
            found.append(event)
            if len(found) == most:
                break
        await events.aclose()
        await asyncio.sleep(0.01)
        return found

    return asyncio.run(run()), engine


def test_events_come_through_and_nothing_is_kept() -> None:
    handle = FakeHandle(TextDelta("word"), DONE)
    found, engine = told(handle)
    assert found == [TextDelta("word"), DONE]
    assert (engine.waiting, engine._tasks) == (0, {})


def test_who_leaves_ends_the_replicas_work() -> None:
    handle = FakeHandle(TextDelta("word"), TextDelta("word"))
    found, engine = told(handle, most=1)
    assert (len(found), handle.stream.cancelled) == (1, True)
    assert (engine.waiting, engine._tasks) == (0, {})


def test_what_goes_wrong_is_told() -> None:
    with pytest.raises(ApiError) as refused:
        told(FakeHandle(refusal("No such picture.", "messages", code="x")))
    assert (refused.value.status, refused.value.code) == (400, "x")
    with pytest.raises(ApiError) as failed:
        told(FakeHandle(RuntimeError("/secret")))
    assert (failed.value.status, failed.value.code) == (503, "replica_failed")
    assert "/secret" not in str(failed.value.body())


def test_marks_and_what_was_found_survive_the_way_to_a_replica(tiny_model: Any) -> None:
    mark = Mark(Region(image_index=0, mask=masks.encode(np.eye(40, 60, dtype=bool))), 0.2)
    sent: Mark = pickle.loads(pickle.dumps(mark))
    assert (sent.region.mask, sent.threshold) == (mark.region.mask, 0.2)
    answer = tiny_model.match(list(two()), sent.region, threshold=sent.threshold)
    back = pickle.loads(pickle.dumps(_without_pictures(Done(answer))))
    assert back.answer.pictures == ()
    assert back.answer.to_match_json() == answer.to_match_json()


def test_replicas_need_ray(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--replicas", "2"]) == 2
    assert "add --engine ray" in capsys.readouterr().err


@pytest.mark.slow
def test_ray_that_does_not_start_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.serve")

    def fails(**options: Any) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", fails)
    assert main(["serve", "--engine", "ray"]) == 2
    error = capsys.readouterr().err
    assert "The replicas cannot be started." in error
    assert "timed out during startup" in error


@pytest.fixture
def served(tiny_model_folder: Path, repository: Path, tmp_path: Path) -> Iterator[tuple[Any, str]]:
    """`segue serve --engine ray` with two replicas."""
    pytest.importorskip("ray.serve")
    options = ("--model", str(tiny_model_folder), "--engine", "ray", "--replicas", "2", "--device", "cpu")
    with serving_process(*options, repository=repository, log=tmp_path / "log", seconds=600) as served:
        yield served


@pytest.mark.slow
def test_two_replicas_answer_as_one_server(served: tuple[Any, str], tiny_model: Any) -> None:
    process, base = served
    client = openai.OpenAI(base_url=base, api_key="none", max_retries=0)
    name = client.models.list().data[0].id
    assert name == "tiny-taught"
    alone = tiny_model.session(list(two())).ask("Which is larger?")

    def ask(number: int) -> Any:
        request: dict[str, Any] = {"model": name, "messages": [shown(*two())]}
        if number % 2:
            return client.chat.completions.create(**request).choices[0].message
        with client.chat.completions.stream(**request) as stream:
            return stream.get_final_completion().choices[0].message

    with ThreadPoolExecutor(8) as pool:
        messages = list(pool.map(ask, range(24)))
    assert all(message.content == alone.text for message in messages)
    assert all(message.segue == messages[0].segue for message in messages)
    assert [g["phrase"] for g in messages[0].segue["groundings"]] == ["red mug", "lamp"]
    assert client._client.get(base.removesuffix("/v1") + "/healthz").json() == {"status": "ok"}
    # A conversation goes on, whichever replica gets its next turn.
    later = [shown(*two()), messages[0], {"role": "user", "content": "And the other one?"}]
    session = tiny_model.session(list(two()))
    session.ask("Which is larger?")
    expected = session.ask("And the other one?").text
    assert all(
        client.chat.completions.create(model=name, messages=later).choices[0].message.content == expected
        for _ in range(4)
    )
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=name, messages=[shown(*two(), text="mug " * 2000)])
    assert refused.value.code == "context_length_exceeded"
    # Marks and regions get there too.
    boxed = [("image", file_of(image)) for image in two()] + [("box", "15,10,30,20")]
    body, headers = form_of(*boxed)
    found = client._client.post(base + "/images/matches", content=body, headers=headers).json()
    own = tiny_model.match(list(two()), Region(image_index=0, box=(15, 10, 30, 20)))
    assert found["matches"] == own.to_match_json()["matches"]
    pointing = shown(*two(), text="What is [this]?") | {"regions": [{"image_index": 0, "point": [20, 12]}]}
    with pytest.raises(openai.BadRequestError) as never_saw:
        client.chat.completions.create(model=name, messages=[pointing])
    assert never_saw.value.code == "regions_not_supported"
    # SIGTERM in the middle of a stream: it is told to its end.
    streamed = client.chat.completions.create(model=name, messages=[shown(*two())], stream=True)
    first = next(streamed)
    process.send_signal(signal.SIGTERM)
    assert "".join(c.choices[0].delta.content or "" for c in [first, *streamed]) == TEXT
    assert process.wait(120) == 0
