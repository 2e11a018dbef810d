"""Recordings: a chat model's replies in a JSONL file, and a chat model that reads them back.

One line a request: `{"key", "request", "reply"}`. The request is there for people; the key, over words and
pixels, is what a replay looks for. No address, no header and no key of an account is ever written.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segue.chat_model.messages import ChatModel, ChatReply, Message, fingerprint
from segue.errors import InputError, ModelError, RecordError


class RecordingChatModel:
    """Passes requests on and appends each reply to a file.

    Args:
        inner: The model that answers.
        path: JSONL file; made when it does not exist. Half a last line, as an interrupted run leaves, is cut.
        reuse: Answer a request that the file already holds from there, without asking again.
    """

    def __init__(self, inner: ChatModel, path: str | Path, *, reuse: bool = False) -> None:
        self.inner = inner
        self.path = Path(path)
        self._reuse = reuse
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _cut_half_line(self.path)
        except OSError as error:
            raise _unusable(self.path, "can be written", error) from None
        self._known = _read(self.path) if reuse and self.path.is_file() else {}

    @property
    def name(self) -> str:
        """The inner model's name."""
        return self.inner.name

    def complete(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        **sampling: float | int,
    ) -> ChatReply:
        """See `ChatModel.complete`."""
        key = fingerprint(self.name, messages, schema, max_tokens, sampling)
        if self._reuse and key in self._known:
            return self._known[key][-1]
        reply = self.inner.complete(messages, schema=schema, max_tokens=max_tokens, **sampling)
        line = {
            "key": key,
            "request": {
                "model": self.name,
                "messages": [message.to_record() for message in messages],
                "max_tokens": max_tokens,
                **sampling,
            },
            "reply": asdict(reply),
        }
        with self.path.open("a", encoding="utf-8") as file:
            # As escapes: a reply may hold half of a surrogate pair, which UTF-8 cannot encode.
            file.write(json.dumps(line, ensure_ascii=True) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._known.setdefault(key, deque()).append(reply)
        return reply


class ReplayChatModel:
    """Answers from a recording, without any server.

    A request that was recorded several times gets its replies in that order, then the last one again.

    Args:
        path: What `RecordingChatModel` wrote.
        name: The recorded model's name; by default the one of the first line.
    """

    def __init__(self, path: str | Path, name: str | None = None) -> None:
        self.path = Path(path)
        self._replies = _read(self.path)
        self.name = name if name is not None else _recorded_name(self.path)

    def complete(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        **sampling: float | int,
    ) -> ChatReply:
        """See `ChatModel.complete`; ModelError for a request that was not recorded."""
        replies = self._replies.get(fingerprint(self.name, messages, schema, max_tokens, sampling))
        if not replies:
            last = next((p for p in reversed(messages[-1].content) if isinstance(p, str)), "")
            raise ModelError(
                "This request is not in the recording.",
                expected="the same model, words, pixels and options as when it was recorded",
                found=f"a request that ends with {last[-80:]!r}",
                where=str(self.path),
                fix="record it again with RecordingChatModel",
            )
        return replies.popleft() if len(replies) > 1 else replies[0]


def _read(path: Path) -> dict[str, deque[ChatReply]]:
    """Key -> replies of a recording; RecordError names a wrong line, a last half line is passed over."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, "was written by RecordingChatModel", error) from None
    replies: dict[str, deque[ChatReply]] = defaultdict(deque)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            replies[str(content["key"])].append(ChatReply.from_record(content["reply"]))
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break
            raise RecordError(
                "A line of the recording cannot be read.",
                expected='a JSON object with "key" and "reply"',
                found=f"{type(error).__name__}: {error}",
                where=f"{path}, line {number}",
                fix="delete the line, or record again",
            ) from None
    return dict(replies)


def _recorded_name(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        first = file.readline()
    try:
        return str(json.loads(first)["request"]["model"])
    except (ValueError, KeyError, TypeError):
        return path.stem


def _cut_half_line(path: Path) -> None:
    if not path.is_file() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        content = file.read()
        if not content.endswith(b"\n"):
            # -1 + 1 is 0: a file that is nothing but half a line becomes empty.
            file.truncate(content.rfind(b"\n") + 1)


def _unusable(path: Path, expected: str, error: Exception) -> InputError:
    return InputError(
        "The recording cannot be used.",
        expected=f"a file that {expected}",
        found=f"{type(error).__name__}: {error}",
        where=str(path),
        fix="check the path and its permissions",
    )
