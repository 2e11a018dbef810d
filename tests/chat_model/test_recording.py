"""Recordings answer the same requests, hold no pictures and no keys, and survive an interruption."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chat_server import ChatServer, says
from segue.chat_model import ChatReply, Message, OpenAIChatModel, RecordingChatModel, ReplayChatModel
from segue.errors import InputError, ModelError, RecordError

RED, BLUE = (Image.new("RGB", (40, 30), colour) for colour in ("red", "blue"))


class Counting:
    """Answers with the number of the request."""

    name = "counting"
    asked = 0

    def complete(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        **sampling: float | int,
    ) -> ChatReply:
        self.asked += 1
        return ChatReply(str(self.asked), usage={"prompt_tokens": 1})


def about(picture: Image.Image, text: str = "what?") -> list[Message]:
    return [Message("user", (picture, text))]


def test_a_replay_answers_by_words_pixels_and_options(tmp_path: Path) -> None:
    recording = RecordingChatModel(Counting(), tmp_path / "deep" / "r.jsonl")
    for messages, options in ((about(RED), {}), (about(BLUE), {}), (about(RED), {"temperature": 0.5})):
        recording.complete(messages, **options)
    recording.complete(about(RED))
    replay = ReplayChatModel(tmp_path / "deep" / "r.jsonl")
    assert replay.name == "counting"
    assert replay.complete(about(BLUE)).text == "2"
    assert replay.complete(about(RED), temperature=0.5).text == "3"
    assert [replay.complete(about(RED.copy())).text for _ in range(3)] == ["1", "4", "4"]
    assert replay.complete(about(BLUE)) == ChatReply("2", usage={"prompt_tokens": 1})
    with pytest.raises(ModelError, match=r"not in the recording[\s\S]*'why\?'"):
        replay.complete(about(RED, "why?"))


def test_known_requests_are_not_asked_again(tmp_path: Path) -> None:
    inner = Counting()
    for _ in range(2):
        recording = RecordingChatModel(inner, tmp_path / "r.jsonl", reuse=True)
        assert [recording.complete(about(p)).text for p in (RED, BLUE, RED)] == ["1", "2", "1"]
    assert inner.asked == 2
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 2


def test_a_file_holds_neither_pictures_nor_keys(chat_server: ChatServer, tmp_path: Path) -> None:
    chat_server.script = [says("hi")]
    inner = OpenAIChatModel(chat_server.url, "m", api_key="very-secret")
    RecordingChatModel(inner, tmp_path / "r.jsonl").complete(about(RED), schema={"type": "object"})
    text = (tmp_path / "r.jsonl").read_text()
    assert "very-secret" not in text
    assert chat_server.url not in text
    assert len(text) < 1000
    assert json.loads(text)["request"]["messages"][0]["content"][1] == "what?"


def test_half_a_line_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    RecordingChatModel(Counting(), path).complete(about(RED))
    whole = path.read_text()
    path.write_text(whole + '{"key": "')
    assert ReplayChatModel(path).complete(about(RED)).text == "1"
    RecordingChatModel(Counting(), path).complete(about(BLUE))
    assert path.read_text().startswith(whole + '{"key": "')
    assert len(path.read_text().splitlines()) == 2


def test_wrong_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"key": 1}\n{}\n')
    with pytest.raises(RecordError, match="line 1"):
        ReplayChatModel(tmp_path / "r.jsonl")
    with pytest.raises(InputError, match="cannot be used"):
        ReplayChatModel(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="cannot be used"):
        RecordingChatModel(Counting(), tmp_path / "r.jsonl" / "x.jsonl")
