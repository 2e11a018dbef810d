"""Whatever a server calls things: completions, errors and lists of models come out in one form."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest

from chat_server import ChatServer, Step
from segue.chat_model import Format, Message, OpenAIChatModel, RetryPolicy
from segue.chat_model.failures import NotACompletionError
from segue.chat_model.messages import ChatReply
from segue.chat_model.server_answer import ServerAnswer, listed_models, read_answer, read_completion
from segue.chat_model.transport import Response
from segue.errors import ModelError


def answer(body: Any, status: int = 200) -> ServerAnswer:
    coded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_answer(Response(status, {}, coded))


def reply(message: dict[str, Any] | None = None, **more: Any) -> ChatReply:
    body = {"choices": [{"message": message, "finish_reason": "stop"}]} if message is not None else more
    return read_completion(answer(body), Format.TEXT)


def events(*chunks: Any, done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return (": keep-alive\n\n" + "".join(lines) + ("data: [DONE]\n\n" if done else "")).encode()


def piece(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


@pytest.mark.parametrize(
    ("message", "places"),
    [
        ({"content": "A lamp."}, ["A lamp."]),
        ({"content": None, "reasoning_content": "A lamp."}, ["A lamp."]),
        ({"content": "", "reasoning": "A lamp."}, ["A lamp."]),
        ({"content": " ", "reasoning": {"content": "A lamp."}}, ["A lamp."]),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "A lamp."}]}, ["A lamp."]),
        ({"content": "A lamp.", "reasoning_content": "drafts"}, ["A lamp."]),
        ({"tool_calls": [{"function": {"name": "f", "arguments": "A lamp."}}]}, ["A lamp."]),
        ({"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}, ['{"a": 1}']),
        ({"function_call": {"name": "f", "arguments": "A lamp."}}, ["A lamp."]),
        ({"content": [{"type": "tool_use", "name": "f", "input": {"a": 1}}]}, ['{"a": 1}']),
        ({"content": "I call it.", "tool_calls": [{"function": {"arguments": "A lamp."}}]},
         ["I call it.", "A lamp."]),
        ({"content": [{"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": "A lamp."}]},
         ["A lamp."]),
        ({"content": {"type": "text", "text": "A lamp."}}, ["A lamp."]),
        ({"content": ["A ", "lamp."]}, ["A lamp."]),
        ({"content": "", "parsed": {"a": 1}}, ['{"a": 1}']),
        ({"content": [{"type": "thinking", "thinking": "A lamp."}]}, ["A lamp."]),
    ],
)  # fmt: skip
def test_an_answer_is_found_wherever_it_stands(message: dict[str, Any], places: list[str]) -> None:
    assert reply(message).places() == places


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"text": "A lamp."}]},
        {"choices": {"message": {"content": "A lamp."}}},
        {"choices": [{"message": {"content": ""}}, {"message": {"content": "A lamp."}}]},
        {"message": {"role": "assistant", "content": "A lamp."}, "done": True},
        {"data": {"choices": [{"message": {"content": "A lamp."}}]}},
        [{"choices": [{"message": {"content": "A lamp."}}]}],
        {"output": [{"type": "reasoning"}, {"type": "message", "content": [{"text": "A lamp."}]}]},
        json.dumps({"choices": [{"message": {"content": "A lamp."}}]}),
        events(piece(content="A "), piece(content="lamp."), piece("stop")),
        events(piece(reasoning_content="hm "), piece(content="A lamp."), piece("stop"), done=False),
        b"\xef\xbb\xbf\n\n" + json.dumps({"choices": [{"message": {"content": "A lamp."}}]}).encode(),
        b"".join(json.dumps({"message": {"content": text}, "done": text == "p."}).encode() + b"\n"
                 for text in ("A ", "lam", "p.")),
    ],
)  # fmt: skip
def test_completions_of_other_shapes_are_read(body: Any) -> None:
    found = answer(body)
    assert found.status == 200
    assert read_completion(found, Format.TEXT).text == "A lamp."


def test_arguments_that_come_in_pieces_are_joined() -> None:
    calls = [{"index": 0, "function": {"name": "f", "arguments": text}} for text in ('{"a"', ": 1}")]
    streamed = events(piece(tool_calls=calls[:1]), piece(tool_calls=calls[1:]), piece("tool_calls"))
    assert read_completion(answer(streamed), Format.TEXT).places() == ['{"a": 1}']


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"error": {"code": 502, "message": "no GPU"}}, 502, "no GPU"),
        ({"error": "the model is overloaded"}, 503, "the model is overloaded"),
        ({"choices": [{"error": {"code": 429, "message": "slow"}, "message": {"content": ""}}]}, 429, "slow"),
        ({"choices": [{"error": {"message": "it broke"}}]}, 502, "it broke"),
        ([{"error": {"code": 400, "message": "bad", "status": "INVALID_ARGUMENT"}}], 400, "bad"),
        ({"object": "error", "message": "wrong", "code": 404}, 404, "wrong"),
        ({"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs"}]}, 400, "body.seed: Extra inputs"),
        ({"detail": "Not there"}, 400, "Not there"),
        ({"error": {"message": "failed", "code": 500, "metadata": {"raw": "out of memory"}}}, 500,
         "failed (out of memory)"),
        (events(piece(content="A "), {"error": {"code": 500, "message": "it broke"}}), 500, "it broke"),
        (events(piece(content="A "), done=False), 502, "ended before its last"),
    ],
)  # fmt: skip
def test_an_error_with_status_200_is_an_error(body: Any, status: int, said: str) -> None:
    found = answer(body)
    assert found.status == status
    assert said in found.said


def test_the_status_counts_where_it_is_one() -> None:
    found = answer({"message": "gone", "code": 200}, 503)
    assert (found.status, found.said) == (503, "gone")
    assert answer(b"<html><title>502 Bad\nGateway</title></html>", 502).said.count("Bad") == 1


def test_no_choice_is_no_silence() -> None:
    found = reply(choices=[], prompt_filter_results=[{"violence": "filtered"}])
    assert found.places() == []
    assert "no choice" in found.why_empty
    assert "violence" in found.why_empty
    with pytest.raises(NotACompletionError, match="not a chat completion"):
        read_completion(answer(b""), Format.TEXT)


@pytest.mark.parametrize(
    "content",
    [
        {"object": "list", "data": [{"id": "eye"}]},
        [{"id": "eye"}],
        ["eye"],
        {"models": [{"name": "eye", "size": 3}]},
        {"data": ["eye"]},
        {"models": {"eye": {"ctx": 4096}}},
        {"id": "eye", "object": "model"},
        {"data": [{"id": "eye"}, {"id": "text-embedding-3"}, {"id": "r", "type": "rerank"}, 7, {}]},
        {"models": [{"name": "eye"}], "data": [{"id": "eye"}]},
    ],
)
def test_lists_of_models(content: Any) -> None:
    assert listed_models(content) == ["eye"]
    assert listed_models(None) == listed_models({}) == listed_models([]) == listed_models(7) == []


BODY = json.dumps({"choices": [{"message": {"content": "A lamp."}}]}).encode()
PACKED = gzip.compress(BODY, mtime=0)  # without the time of day, which would stand in the test's name


@pytest.mark.parametrize("packed", [PACKED, zlib.compress(BODY), gzip.compress(PACKED, mtime=0)])
@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}])
def test_bodies_that_come_packed(chat_server: ChatServer, packed: bytes, headers: dict[str, str]) -> None:
    chat_server.script = [Step(packed, headers=headers)]
    model = OpenAIChatModel(chat_server.url, "m", api_key="", retry=RetryPolicy(retries=0))
    assert model.complete([Message("user", ("hello",))]).text == "A lamp."


@pytest.mark.parametrize("packed", [PACKED[:-12], b"\x1f\x8b nothing of the kind"])
def test_damaged_packing_is_a_broken_answer(chat_server: ChatServer, packed: bytes) -> None:
    chat_server.script = [Step(packed)]
    model = OpenAIChatModel(chat_server.url, "m", api_key="", retry=RetryPolicy(retries=0))
    with pytest.raises(ModelError, match="compression"):
        model.complete([Message("user", ("hello",))])
