"""The client: retries, waits, what servers refuse, and that a key never leaves the header."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from PIL import Image

from chat_server import ChatServer, Step, fails, says
from segue.chat_model import Budget, Format, Message, OpenAIChatModel, RefusedError, RetryPolicy
from segue.chat_model.limits import read_retry_after
from segue.errors import InputError, ModelError, SegueError

KEY = "sk-test-0123456789"
SCHEMA = {"type": "object"}
HELLO = [Message("user", ("hello",))]


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def client(
    server: ChatServer, *, budget: Budget | None = None, **limits: Any
) -> tuple[OpenAIChatModel, Clock]:
    clock = Clock()
    policy = RetryPolicy(sleep=clock.sleep, clock=lambda: clock.now, rng=random.Random(0), **limits)
    return OpenAIChatModel(server.url, "scripted", api_key=KEY, retry=policy, budget=budget), clock


def refused(server: ChatServer, *steps: Step, **limits: Any) -> SegueError:
    server.script = list(steps)
    with pytest.raises(ModelError) as caught:
        client(server, **limits)[0].complete(HELLO, schema=SCHEMA)
    assert KEY not in str(caught.value)
    return caught.value


def test_a_reply_and_what_was_sent(chat_server: ChatServer) -> None:
    chat_server.script = [says("hi")]
    model, _ = client(chat_server)
    picture = Image.new("RGB", (8, 6), (250, 0, 0))
    reply = model.complete(
        [Message("user", ("look:", picture, "well?"))], schema=SCHEMA, max_tokens=7, temperature=0.0
    )
    assert (reply.text, reply.finish_reason, reply.format) == ("hi", "stop", Format.JSON_SCHEMA)
    assert (reply.usage, reply.attempts) == ({"prompt_tokens": 100, "completion_tokens": 20}, 1)
    assert (reply.model, model.name) == ("scripted-1", "scripted")
    sent = chat_server.requests[0]
    assert (sent["model"], sent["max_tokens"], sent["temperature"]) == ("scripted", 7, 0.0)
    assert sent["response_format"]["json_schema"]["schema"] == SCHEMA
    assert chat_server.texts() == ["look:", "well?"]
    (shown,) = chat_server.images()
    assert shown.size == (8, 6)
    assert shown.getpixel((3, 3))[0] > 240
    assert chat_server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_without_a_key_there_is_no_header(chat_server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    chat_server.script = [says("a"), says("b"), says("c")]
    OpenAIChatModel(chat_server.url, "m").complete(HELLO)
    monkeypatch.setenv("OPENAI_API_KEY", "general")
    OpenAIChatModel(chat_server.url, "m").complete(HELLO)
    monkeypatch.setenv("SEGUE_API_KEY", "special\n")
    OpenAIChatModel(chat_server.url, "m").complete(HELLO)
    sent = [headers.get("authorization") for headers in chat_server.headers]
    assert sent == [None, "Bearer general", "Bearer special"]


def test_passing_failures_are_tried_again_with_growing_waits(chat_server: ChatServer) -> None:
    chat_server.script = [
        fails(500),
        fails(503),
        Step(drop=True),
        Step(b'{"cho', promise=40),
        says("at last"),
    ]
    model, clock = client(chat_server)
    reply = model.complete(HELLO)
    assert (reply.text, reply.attempts) == ("at last", 5)
    assert [low <= wait <= high for wait, (low, high) in zip(
        clock.waits, [(0.75, 1), (1.5, 2), (3, 4), (6, 8)], strict=True)] == [True] * 4  # fmt: skip


def test_retry_after_is_honoured(chat_server: ChatServer) -> None:
    chat_server.script = [fails(429, Retry_After="7"), fails(429, retry_after_ms="250"), says("ok")]
    model, clock = client(chat_server)
    assert model.complete(HELLO).text == "ok"
    assert clock.waits == [7.0, 0.25]


def test_a_retry_after_beyond_the_policy_is_not_waited_for(chat_server: ChatServer) -> None:
    error = refused(chat_server, fails(429, "slow down", Retry_After="86400"))
    assert "next attempt would be in 86400 s" in error.found
    assert "HTTP 429: slow down" in error.found


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("12", 12.0), ("0.5", 0.5), ("-3", 0.0), ("Fri, 20 Nov 2026 12:00:30 GMT", 30.0), ("soon", None),
     ("nan", None), ("inf", None), (None, None), ("Fri, 99 Nov", None)],
)  # fmt: skip
def test_retry_after_is_read(value: str | None, seconds: float | None) -> None:
    assert read_retry_after(value, datetime(2026, 11, 20, 12, tzinfo=UTC)) == seconds


def test_attempts_are_counted_and_end(chat_server: ChatServer) -> None:
    error = refused(chat_server, *[fails(500, f"down, you sent {KEY}")] * 3, retries=2)
    assert "after 3 attempt(s)" in error.found
    assert "down, you sent [key]" in error.found
    assert len(chat_server.requests) == 3


def test_a_slow_server_runs_into_the_timeout(chat_server: ChatServer) -> None:
    chat_server.script = [Step(delay=1.5)]
    model = OpenAIChatModel(chat_server.url, "m", retry=RetryPolicy(retries=0, timeout=0.3))
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"within 0\.3 seconds"):
        model.complete(HELLO)
    assert time.monotonic() - started < 1.4


def test_nobody_at_the_address_is_said_at_once() -> None:
    model = OpenAIChatModel("http://127.0.0.1:9/v1", "m", api_key="", retry=RetryPolicy(sleep=pytest.fail))
    with pytest.raises(ModelError, match="no connection"):
        model.complete(HELLO)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (fails(401, f"Incorrect API key provided: {KEY}"), "SEGUE_API_KEY"),
        (fails(403), "may use this model"),
        (fails(404, "no such model"), "/v1"),
        (fails(413), "side=768"),
        (Step({"error": {"code": "insufficient_quota", "message": "pay"}}, 429), "credit"),
        (Step(b"", 302, {"Location": "http://example.com/v1"}), "http://example.com/v1"),
        (Step({"error": {"message": "no such model", "code": 404}}), "HTTP 404: no such model"),
        (fails(400, "maximum context length is 4096 tokens"), "maximum context length"),
        (Step(b"<html>welcome</html>"), "<html>welcome"),
        (Step({"choices": "none"}), "choices"),
        (Step(b"[[[[" * 50_000), "[["),
    ],
)
def test_lasting_failures_are_said_once_and_clearly(chat_server: ChatServer, step: Step, said: str) -> None:
    error = refused(chat_server, step)
    assert said in str(error)
    assert error.expected
    assert error.where
    assert len(chat_server.requests) == 1


def test_a_weaker_format_is_found_and_remembered(chat_server: ChatServer) -> None:
    chat_server.script = [
        fails(400, "response_format type json_schema is not supported"),
        fails(422, "json_object unknown"),
        says("one"),
        says("two"),
    ]
    model, clock = client(chat_server)
    first, second = model.complete(HELLO, schema=SCHEMA), model.complete(HELLO, schema=SCHEMA)
    assert (first.format, first.attempts) == (Format.TEXT, 3)
    assert (second.format, second.attempts) == (Format.TEXT, 1)
    kinds = [request.get("response_format", {}).get("type") for request in chat_server.requests]
    assert kinds == ["json_schema", "json_object", None, None]
    assert clock.waits == []


def test_a_500_about_the_format_is_not_repeated(chat_server: ChatServer) -> None:
    chat_server.script = [fails(500, "failed to parse grammar"), says("fine")]
    model, clock = client(chat_server)
    assert model.complete(HELLO, schema=SCHEMA).format is Format.JSON_OBJECT
    assert clock.waits == []


def test_a_request_that_is_too_long_is_asked_again_once_with_what_is_left(chat_server: ChatServer) -> None:
    too_long = "maximum context length is 4096 tokens, your prompt contains at least 3000 input tokens"
    chat_server.script = [fails(400, too_long), says("short")]
    reply = client(chat_server)[0].complete(HELLO, max_tokens=2000)
    assert (reply.text, reply.attempts, reply.image_scale) == ("short", 2, 1.0)
    assert [request["max_tokens"] for request in chat_server.requests] == [2000, 4096 - 3000 - 64]
    assert "too long" in reply.notes[0]
    chat_server.requests.clear()
    chat_server.script = [fails(400, too_long), fails(400, too_long), says("never")]
    with pytest.raises(ModelError, match="tokens=") as caught:
        client(chat_server)[0].complete(HELLO, max_tokens=2000)
    assert too_long in caught.value.found
    assert len(chat_server.requests) == 2


@pytest.mark.parametrize(
    "step",
    [fails(500, "the request exceeds the available context size"), fails(413, "request entity too large"),
     Step({"error": {"message": "too long", "type": "exceed_context_size_error",
                     "n_ctx": 100, "n_prompt_tokens": 900}}, 400)],
)  # fmt: skip
def test_images_are_sent_smaller_where_the_prompt_is_too_long(chat_server: ChatServer, step: Step) -> None:
    chat_server.script = [step, says("ok")]
    message = Message("user", ("look:", Image.new("RGB", (80, 60))))
    reply = client(chat_server)[0].complete([message], max_tokens=1000)
    assert [chat_server.images(k)[0].size for k in (0, 1)] == [(80, 60), (40, 30)]
    assert (reply.image_scale, chat_server.texts()) == (0.5, ["look:"])


def test_a_model_without_eyes_is_asked_once(chat_server: ChatServer) -> None:
    for status in (400, 404, 500):
        chat_server.requests.clear()
        error = refused(chat_server, fails(status, "image input is not supported"))
        assert isinstance(error, RefusedError)
        assert not error.concerns_request, "the next request would fare no better"
        assert "mmproj" in error.fix
        assert len(chat_server.requests) == 1


def test_an_error_inside_a_choice_is_tried_again(chat_server: ChatServer) -> None:
    broken = Step({"choices": [{"error": {"code": 503, "message": "full house"}, "message": {}}]})
    chat_server.script = [broken, says("there")]
    assert client(chat_server)[0].complete(HELLO).attempts == 2
    error = refused(chat_server, *[broken] * 2, retries=1)
    assert "HTTP 503: full house" in error.found
    assert "cannot be reached" not in error.summary


def test_options_that_a_server_refuses_are_left_out(chat_server: ChatServer) -> None:
    chat_server.script = [
        fails(400, "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."),
        fails(400, "'temperature' does not support 0.0 with this model."),
        says("ok"),
    ]
    model, _ = client(chat_server)
    assert model.complete(HELLO, max_tokens=9, temperature=0.0).text == "ok"
    last = chat_server.requests[-1]
    assert last["max_completion_tokens"] == 9
    assert not {"max_tokens", "temperature"} & set(last)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"choices": []}, ""),
        ({"choices": [{}]}, ""),
        ({"choices": [{"message": None}]}, ""),
        ({"choices": [{"message": {"content": None}}]}, ""),
        ({"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"text": "b"}, 3]}}]}, "ab"),
        ({"choices": [{"message": {"content": {"a": 1}}}], "usage": [1], "error": None}, ""),
    ],
)
def test_odd_completions_are_read(chat_server: ChatServer, body: dict[str, Any], text: str) -> None:
    chat_server.script = [Step(body)]
    reply = client(chat_server)[0].complete(HELLO)
    assert (reply.text, reply.usage) == (text, {})


def test_the_budget_is_kept(chat_server: ChatServer) -> None:
    chat_server.script = [says("one"), says("two"), says("three")]
    model, _ = client(chat_server, budget=Budget(max_tokens=200))
    model.complete(HELLO)
    model.complete(HELLO)
    with pytest.raises(ModelError, match="240 tokens"):
        model.complete(HELLO)
    model, _ = client(chat_server, budget=Budget(max_requests=1))
    model.complete(HELLO)
    with pytest.raises(ModelError, match="1 requests"):
        model.complete(HELLO)
    with pytest.raises(InputError, match="allows nothing"):
        Budget(max_requests=0)


def test_the_only_model_of_a_server_needs_no_name(chat_server: ChatServer) -> None:
    assert OpenAIChatModel(chat_server.url).name == "scripted"
    chat_server.models = ["a", "b"]
    with pytest.raises(ModelError, match="lists a, b"):
        OpenAIChatModel(chat_server.url)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com",
        "example.com/v1",
        "http://",
        "http://localhost /v1",
        "http://[::1",
        "http://localhost:port/v1",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(InputError, match="cannot be used"):
        OpenAIChatModel(url, "m")


@pytest.mark.parametrize(
    "url", ["http://" + f"me:{KEY}@example.com/v1", f"https://example.com/v1?api_key={KEY}"]
)
def test_secrets_in_an_address_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InputError, match="SEGUE_API_KEY") as caught:
        OpenAIChatModel(url, "m")
    assert KEY not in str(caught.value)


def test_a_key_that_no_header_can_carry_is_not_repeated() -> None:
    with pytest.raises(InputError) as caught:
        OpenAIChatModel("http://example.com/v1", "m", api_key=KEY + "\r\nX: y")
    assert KEY not in str(caught.value)
    assert KEY not in repr(OpenAIChatModel("http://example.com/v1/chat/completions/", "m", api_key=KEY))
