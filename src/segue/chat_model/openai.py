"""A client for servers that speak OpenAI's chat completions: vLLM, llama.cpp, Ollama, the hosted ones.

Written on the standard library: the one request that is needed here does not justify a further dependency,
and the deadline, size and redirect rules of `segue.chat_model.transport` are ours to keep.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from segue.chat_model import refusals
from segue.chat_model.failures import RefusedError, UnreachableError
from segue.chat_model.limits import Budget, RetryPolicy, read_retry_after
from segue.chat_model.messages import ChatReply, Format, Message
from segue.chat_model.server_answer import ServerAnswer, listed_models, read_answer, read_completion
from segue.chat_model.transport import NoAnswer, exchange
from segue.errors import InputError, ModelError

API_KEY_VARIABLES = ("SEGUE_API_KEY", "OPENAI_API_KEY")
"""Environment variables, the first one that is set counts. There is no other way to pass a key by text."""

_LEAST_REPLY = 64
"""Tokens below which a reply is not worth asking for."""


class OpenAIChatModel:
    """Asks a model behind an OpenAI-compatible address.

    Transient failures (429, 5xx, broken connections, timeouts) are tried again. A server that refuses
    `response_format` is asked for less, from a schema to any JSON object to plain text, and the client
    remembers; likewise for `max_tokens`, `temperature` and other options that some servers refuse.

    Args:
        url: Base address such as "http://localhost:8000/v1"; no key, user or query in it.
        model: As the server calls it; None to take the only one that the server lists.
        api_key: By default from the environment, see `API_KEY_VARIABLES`; empty for none.
        retry: When to try again, and when to give up.
        budget: What may be spent; may be shared.

    Raises:
        InputError: An address that cannot be used, or a key with characters that no header can carry.
        ModelError: `model` is None and the server does not list exactly one.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        retry: RetryPolicy | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.url = _base(url)
        self.retry = retry or RetryPolicy()
        self.budget = budget or Budget()
        self._key = _checked_key(api_key if api_key is not None else _key_from_environment())
        self._format = Format.JSON_SCHEMA
        self._refused: set[str] = set()
        self._reached = False
        self._model = model or self._only_model()

    @property
    def name(self) -> str:
        """The model, as the server calls it."""
        return self._model

    def __repr__(self) -> str:
        return f"OpenAIChatModel({self.url!r}, {self._model!r})"

    def complete(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        **sampling: float | int,
    ) -> ChatReply:
        """Answer the messages; see `ChatModel.complete`."""
        return self._complete(messages, schema, max_tokens, sampling, None)

    def complete_once(
        self,
        idempotency_key: str,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        **sampling: float | int,
    ) -> ChatReply:
        """Like `complete`, with the header `Idempotency-Key`.

        A server that knows the header charges a request only once that comes twice, for example because its
        sender was killed before the first answer arrived; others do not mind it.
        """
        return self._complete(messages, schema, max_tokens, sampling, idempotency_key)

    def _complete(
        self,
        messages: Sequence[Message],
        schema: Mapping[str, Any] | None,
        max_tokens: int | None,
        sampling: Mapping[str, float | int],
        idempotency_key: str | None,
    ) -> ChatReply:
        clock = self.retry.clock
        started, attempts = clock(), 0
        asked = _Request(tuple(messages), max_tokens)
        # Each turn of the loop asks for less than the one before, so it ends.
        while True:
            format_ = self._format if schema is not None else Format.TEXT
            wire = {"model": self._model, "messages": [message.to_wire() for message in asked.messages]}
            options = dict(sampling) | ({"max_tokens": asked.max_tokens} if asked.max_tokens else {})
            content = wire | self._accepted(options) | _response_format(format_, schema)
            answer, tried = self._send(content, f"{self.url}/chat/completions", started, idempotency_key)
            attempts += tried
            if answer.status < 300:
                reply = read_completion(answer, format_)
                self.budget.count_usage(*reply.tokens)
                return replace(
                    reply,
                    attempts=attempts,
                    seconds=clock() - started,
                    why_empty=self._clean(reply.why_empty),
                    notes=asked.notes,
                    image_scale=asked.image_scale,
                )
            if self._ask_for_less(answer, content):
                continue
            shorter = asked.shorter(answer)
            if shorter is None:
                raise self._refusal(answer)
            asked = shorter

    # ---- what servers refuse -----------------------------------------------------------------------------

    def _accepted(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options without those that the server has refused; the token budget under its newer name."""
        accepted = {name: value for name, value in options.items() if name not in self._refused}
        if "max_tokens" in options and "max_tokens" in self._refused:
            newer = "max_completion_tokens"
            accepted |= {newer: options["max_tokens"]} if newer not in self._refused else {}
        return accepted

    def _ask_for_less(self, answer: ServerAnswer, content: Mapping[str, Any]) -> bool:
        """Remember what the server refused; False when its answer is about something else."""
        if not refusals.may_be_about_options(answer.status, answer.words):
            return False
        for option in ("max_completion_tokens", "max_tokens", "temperature", "top_p", "seed"):
            if option in content and option in answer.body:
                self._refused.add(option)
                return True
        if "response_format" not in content or not refusals.may_be_about_format(answer.status, answer.body):
            return False
        weaker = {Format.JSON_SCHEMA: Format.JSON_OBJECT, Format.JSON_OBJECT: Format.TEXT}
        self._format = weaker[Format(content["response_format"]["type"])]
        return True

    # ---- sending -----------------------------------------------------------------------------------------

    def _send(
        self, content: Any, url: str, started: float, idempotency_key: str | None = None
    ) -> tuple[ServerAnswer, int]:
        """Send until there is an answer that a repetition would not change; that answer, and the attempts."""
        retry = self.retry
        failure, retry_after, nobody_there = "", None, False
        headers = self._headers() | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
        for attempt in range(retry.retries + 1):
            if attempt:
                wait = retry.wait_before(attempt, retry_after)
                left = retry.total - (retry.clock() - started)
                if wait >= left:
                    raise self._given_up(
                        f"{failure}; the next attempt would be in {wait:.0f} s", attempt, nobody_there
                    )
                retry.sleep(wait)
            left = retry.total - (retry.clock() - started)
            self.budget.start_request()
            try:
                # Never 0, which a socket takes for "do not wait at all".
                response = exchange(url, headers, content, max(0.1, min(retry.timeout, left)), retry.clock)
            except NoAnswer as error:
                failure, retry_after = self._clean(error.reason), None
                # Nobody there from the start is an address to correct; later it is a server that restarts.
                nobody_there = error.nobody_there
                if nobody_there and not self._reached:
                    raise self._given_up(failure, attempt + 1, nobody_there) from None
                continue
            self._reached, nobody_there = True, False
            answer = read_answer(response)
            if not refusals.passes(answer.status, answer.words, answer.problem):
                return answer, attempt + 1
            failure = f"HTTP {answer.status}: {self._said(answer)}"
            retry_after = _retry_after(answer.headers)
        raise self._given_up(failure, retry.retries + 1, nobody_there)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "segue"}
        return headers | ({"Authorization": f"Bearer {self._key}"} if self._key else {})

    def _only_model(self) -> str:
        answer, _ = self._send(None, f"{self.url}/models", self.retry.clock())
        names = listed_models(answer.content) if answer.status < 300 else []
        if len(names) == 1:
            return names[0]
        found = f"the server lists {', '.join(names) or 'none'}"
        if answer.status >= 300:
            found = f"HTTP {answer.status}: {self._said(answer)}"
        raise ModelError(
            "Which model of the server is meant is not clear.",
            expected="the name of one model",
            found=found,
            where=f"{self.url}/models",
            fix="name it: agent:URL?model=NAME",
        )

    # ---- what goes wrong ---------------------------------------------------------------------------------

    def _said(self, answer: ServerAnswer) -> str:
        """The server's words about a failure, short, without the key."""
        return self._clean(answer.said)[:300]

    def _clean(self, text: str) -> str:
        """Servers and libraries quote what they were sent; the key must not get into a message that way."""
        return text.replace(self._key, "[key]") if self._key else text

    def _given_up(self, failure: str, attempts: int, nobody_there: bool) -> ModelError:
        reached = failure.startswith("HTTP ")
        error = UnreachableError(
            "The chat model's server fails again and again."
            if reached
            else "The chat model cannot be reached.",
            expected=f"an answer within {self.retry.retries + 1} attempts and {self.retry.total:g} seconds",
            found=f"{failure} (after {attempts} attempt(s))",
            where=self.url,
            fix="check that the server runs and is not overloaded; timeout= and retries= give it more time",
        )
        error.nobody_there = nobody_there
        return error

    def _refusal(self, answer: ServerAnswer) -> ModelError:
        said = answer.words
        fix = refusals.advice(answer.status, said, API_KEY_VARIABLES, answer.headers.get("location", ""))
        error = RefusedError(
            "The server refused the request.",
            expected="HTTP 200",
            found=f"HTTP {answer.status}: {self._said(answer)}",
            where=f"model {self._model!r} at {self.url}",
            fix=self._clean(fix),
        )
        # A model without eyes refuses the next request as well.
        error.concerns_request = refusals.is_too_long(answer.status, said) or (
            answer.status in (400, 415, 422) and not refusals.is_about_images(said)
        )
        return error


@dataclass(frozen=True)
class _Request:
    """Messages and budget of a request, as they are asked now."""

    messages: tuple[Message, ...]
    max_tokens: int | None
    notes: tuple[str, ...] = ()
    image_scale: float = 1.0

    def shorter(self, answer: ServerAnswer) -> _Request | None:
        """The request for a server that found it too long, once; None where that is not what is wrong."""
        said = answer.words
        # There are notes after the first time.
        if self.notes or not refusals.is_too_long(answer.status, said):
            return None
        room = refusals.room_in(said, answer.problem)
        tokens, scale = self.max_tokens, 1.0
        if tokens and room.left is not None and _LEAST_REPLY <= room.left < tokens:
            tokens = room.left
        else:
            # The prompt itself is too long, or nobody knows by how much: half of everything.
            scale = 0.5 if any(not isinstance(p, str) for m in self.messages for p in m.content) else 1.0
            if tokens and not (answer.status == 413 or refusals.is_about_size(said)):
                tokens = min(tokens, max(_LEAST_REPLY, tokens // 2))
        if (tokens, scale) == (self.max_tokens, 1.0):
            return None
        changes = [f"a reply of {tokens} tokens"] if tokens != self.max_tokens else []
        changes += ["images of half the side"] if scale < 1 else []
        note = f"the request was too long for the server; asked again with {' and '.join(changes)}"
        messages = tuple(m.shrunk(scale) for m in self.messages) if scale < 1 else self.messages
        return _Request(messages, tokens, (note,), scale)


def _response_format(format_: Format, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    if format_ is Format.TEXT or schema is None:
        return {}
    if format_ is Format.JSON_OBJECT:
        return {"response_format": {"type": "json_object"}}
    named = {"name": "grounded_answer", "strict": True, "schema": dict(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _retry_after(headers: Mapping[str, str]) -> float | None:
    in_ms = read_retry_after(headers.get("retry-after-ms"))
    return in_ms / 1000 if in_ms is not None else read_retry_after(headers.get("retry-after"))


def _key_from_environment() -> str:
    return next((value for name in API_KEY_VARIABLES if (value := os.environ.get(name, "").strip())), "")


def _checked_key(key: str) -> str:
    key = key.strip()
    if not all("!" <= character <= "~" for character in key):
        raise InputError(
            "The API key cannot be sent.",
            expected="printable ASCII characters without blanks",
            found="others (not shown here)",
            where=" or ".join(API_KEY_VARIABLES),
            fix="copy the key again",
        )
    return key


def _base(url: str) -> str:
    """The base address, checked; an address with secrets in it is refused without being repeated."""
    expected = "an address such as http://localhost:8000/v1"
    try:
        parts = urlsplit(url.strip())
        # The port is read because that raises ValueError where it is no number; `urlsplit` alone does not.
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() for c in url.strip()):
        raise InputError(
            "The address of the chat model cannot be used.",
            expected=expected,
            found=repr(url) if "@" not in url else "another address",
            where="url",
            fix="give the base address of an OpenAI-compatible server",
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            "The address of the chat model holds more than an address.",
            expected=expected,
            found=f"an address at {host} with a user, a query or a fragment (not shown here)",
            where="url",
            fix=f"pass a key in the environment variable {API_KEY_VARIABLES[0]}",
        )
    # People copy the whole address of the request from a manual.
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))
