"""The queue: bounded, in batches, given up when the client leaves; answers never cross."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from segue.inference.answer import SessionAnswer
from segue.inference.streaming import Cancelled, Event, TextDelta, events_of
from serving import Served, shown, two
from tiny_model import picture


class SlowSession:
    """A session that says a word at a time, when it is let."""

    batches = False
    dialect = "prima"

    def __init__(self, model: "SlowModel", images: list[Any]) -> None:
        self.model, self.images, self.history = model, images, []
        self.image_hws = [(image.height, image.width) for image in images]

    def reset(self) -> None:
        self.history = []

    def stream(self, text: str, **options: Any) -> Iterator[Event]:
        def run(tell: Any) -> SessionAnswer:
            self.model.begun.append(text)
            try:
                for _ in range(200):
                    tell(TextDelta("word "))
                    if self.model.go.wait(0.02):
                        break
                return SessionAnswer(text, "word", "word", image_hws=self.image_hws)
            except Cancelled:
                self.model.cancelled.append(text)
                raise

        return events_of(run)


class SlowModel:
    """What the engine needs of a model."""

    name = "slow"

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun: list[str] = []
        self.cancelled: list[str] = []

    def session(self, images: list[Any], names: Any = None) -> SlowSession:
        return SlowSession(self, images)


@pytest.fixture
def slow() -> Iterator[SlowModel]:
    model = SlowModel()
    yield model
    model.go.set()


def until(holds: Any) -> None:
    ends = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_full_queue_answers_429_with_a_time(serve, slow: SlowModel) -> None:
    server = serve(slow, queue=2, batch_size=1)  # the slow model knows no batches
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(server.chat, shown(picture(), text=f"question {k}")) for k in range(2)]
        until(lambda: server.engine.under_way == 2)
        status, headers, answer = server.chat(shown(picture()))
        assert (status, answer["error"]["type"]) == (429, "rate_limit_error")
        assert int(headers["retry-after"]) >= 1
        slow.go.set()
        assert [done.result()[0] for done in asked] == [200, 200]
    until(lambda: server.engine.under_way == 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_stops_its_answer(serve, slow: SlowModel, stream: bool) -> None:
    server = serve(slow)
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    body = {"messages": [shown(picture(), text="left")], "stream": stream}
    link.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    until(lambda: slow.begun == ["left"])
    if stream:
        assert link.getresponse().read(20)
    link.close()
    until(lambda: slow.cancelled == ["left"])
    until(lambda: server.engine.under_way == 0 and server.engine.pixels == 0)


def test_a_client_that_leaves_the_queue_is_never_asked(serve, slow: SlowModel) -> None:
    server = serve(slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.chat, shown(picture(), text="first"))
        until(lambda: slow.begun == ["first"])
        link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        body = {"messages": [shown(picture(), text="second")], "stream": True}
        link.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        until(lambda: server.engine.under_way == 2)
        link.close()
        until(lambda: server.engine.under_way == 1)
        slow.go.set()
        assert first.result()[0] == 200
    assert slow.begun == ["first"]


def test_a_request_has_a_time_limit(serve, slow: SlowModel) -> None:
    server = serve(slow, timeout=0.3)
    status, headers, answer = server.chat(shown(picture()))
    assert (status, answer["error"]["code"]) == (503, "timeout")
    assert headers["retry-after"]
    _, _, content = server.chat(shown(picture()), stream=True)
    lines = [line for line in content.decode().split("\n") if line.startswith("data: ")]
    assert json.loads(lines[-2][6:])["error"]["code"] == "timeout"
    assert lines[-1] == "data: [DONE]"


def test_a_quiet_stream_sends_comments(serve, slow: SlowModel) -> None:
    server = serve(slow, keep_alive=0.005, timeout=0.5)
    assert b"\n: still at work\n\n" in server.chat(shown(picture()), stream=True)[2]


def test_an_error_of_the_model_is_told_without_its_insides(
    serve, slow: SlowModel, monkeypatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(SlowSession, "stream", fails)
    server = serve(slow)
    for stream in (False, True):
        status, _, answer = server.chat(shown(picture()), stream=stream)
        assert (status, answer["error"]["code"]) == (500, "internal_error")
        assert "/secret" not in json.dumps(answer)
    assert caplog.text.count("RuntimeError: /secret/path") == 2, "the log has the details"
    assert server.send("GET", "/healthz")[0] == 200


def test_several_questions_are_asked_in_one_batch(serve, tiny_model, monkeypatch: pytest.MonkeyPatch) -> None:
    from segue.inference import batching

    sizes, real = [], batching.ask_together

    def watched(sessions, questions, **options):
        sizes.append(len(sessions))
        return real(sessions, questions, **options)

    monkeypatch.setattr(batching, "ask_together", watched)
    alone = tiny_model.session(list(two())).ask("Which is larger?")
    server = serve(batch_size=4)
    held = server.engine._changed
    with ThreadPoolExecutor(6) as pool:
        with held:  # all six wait in the queue before the first is taken
            asked = [pool.submit(server.chat, shown(*two())) for _ in range(6)]
            time.sleep(0.5)
        answers = [done.result() for done in asked]
    assert max(sizes, default=0) > 1
    for status, _, answer in answers:
        choice = answer["choices"][0]["message"]
        assert (status, choice["content"]) == (200, alone.text)
        assert answer["usage"]["completion_tokens"] == alone.new_tokens
        assert [g["image_index"] for g in choice["segue"]["groundings"]] == [0, 1]


def test_200_requests_of_16_clients_do_not_cross(served: Served) -> None:
    """Each answer's masks have the sizes of its own pictures; whoever is refused is refused with 429."""

    def ask(number: int) -> tuple[int, list[list[int]], list[list[int]]]:
        hws = [(20 + number % 40, 30 + number % 7), (25, 20 + number % 50)]
        message = shown(*(picture(h, w, 50 + number % 200) for h, w in hws))
        if number % 3:
            status, _, answer = served.chat(message)
            segue = answer["choices"][0]["message"]["segue"] if status == 200 else {"groundings": []}
            found = segue["groundings"]
        else:
            status, _, content = served.chat(message, stream=True)
            lines = [json.loads(x[6:]) for x in content.decode().split("\n") if x.startswith("data: {")]
            deltas = [x["choices"][0]["delta"] for x in lines] if status == 200 else []
            found = [g for d in deltas for g in d.get("segue", {}).get("groundings", [])]
        return status, [g["segmentation"]["size"] for g in found], [list(hw) for hw in hws]

    with ThreadPoolExecutor(16) as pool:
        seen = list(pool.map(ask, range(200)))
    assert len(seen) == 200
    assert {status for status, _, _ in seen} <= {200, 429}
    assert sum(status == 200 for status, _, _ in seen) > 100
    assert all(sizes == hws for status, sizes, hws in seen if status == 200)
    # A stream's client has read its last byte a moment before the server gives its place back.
    until(lambda: served.engine.under_way == served.engine.pixels == 0)
    assert len(served.engine._conversations._kept) <= 8
