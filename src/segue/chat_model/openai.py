"""A client for servers that speak OpenAI's chat completions: vLLM, llama.cpp, Ollama, the hosted ones.

Written on the standard library: the one request that is needed here does not justify a further dependency,
and the deadline, size and redirect rules of `segue.chat_model.transport` are ours to keep.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from segue.chat_model.failures import NotACompletionError, RefusedError, UnreachableError
from segue.chat_model.limits import Budget, RetryPolicy, read_retry_after
from segue.chat_model.messages import ChatReply, Format, Message
from segue.chat_model.transport import NoAnswer, Response, exchange
from segue.errors import InputError, ModelError

API_KEY_VARIABLES = ("SEGUE_API_KEY", "OPENAI_API_KEY")
"""Environment variables, the first one that is set counts. There is no other way to pass a key by text."""

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""Statuses after which the same request may succeed."""

_NOT_UNDERSTOOD = frozenset({400, 404, 415, 422, 500, 501})
"""Statuses with which servers refuse a parameter that they do not know."""

_ABOUT_FORMAT = ("response_format", "json_schema", "json_object", "json schema", "guided", "grammar",
                 "structured output")  # fmt: skip


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
        wire = {"model": self._model, "messages": [message.to_wire() for message in messages]}
        options: dict[str, Any] = dict(sampling) | ({"max_tokens": max_tokens} if max_tokens else {})
        # Each turn of the loop asks for less than the one before, so it ends.
        while True:
            format_ = self._format if schema is not None else Format.TEXT
            content = wire | self._accepted(options) | _response_format(format_, schema)
            response, tried = self._send(content, f"{self.url}/chat/completions", started, idempotency_key)
            attempts += tried
            if response.status < 300:
                reply = _read_reply(response, format_, self._said(response))
                self.budget.count_usage(*reply.tokens)
                return replace(reply, attempts=attempts, seconds=clock() - started)
            if not self._ask_for_less(response, content):
                raise self._refusal(response)

    # ---- what servers refuse -----------------------------------------------------------------------------

    def _accepted(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options without those that the server has refused; the token budget under its newer name."""
        accepted = {name: value for name, value in options.items() if name not in self._refused}
        if "max_tokens" in options and "max_tokens" in self._refused:
            newer = "max_completion_tokens"
            accepted |= {newer: options["max_tokens"]} if newer not in self._refused else {}
        return accepted

    def _ask_for_less(self, response: Response, content: Mapping[str, Any]) -> bool:
        """Remember what the server refused; False when its answer is about something else."""
        if response.status not in _NOT_UNDERSTOOD:
            return False
        said = response.text().lower()
        for option in ("max_completion_tokens", "max_tokens", "temperature", "top_p", "seed"):
            if option in content and f"{option}" in said and not _too_long(said):
                self._refused.add(option)
                return True
        if "response_format" not in content or _too_long(said):
            return False
        # A bare "bad request" may be about the format too; 404 and 500 must say so.
        if response.status in (404, 500) and not any(word in said for word in _ABOUT_FORMAT):
            return False
        weaker = {Format.JSON_SCHEMA: Format.JSON_OBJECT, Format.JSON_OBJECT: Format.TEXT}
        self._format = weaker[Format(content["response_format"]["type"])]
        return True

    # ---- sending -----------------------------------------------------------------------------------------

    def _send(
        self, content: Any, url: str, started: float, idempotency_key: str | None = None
    ) -> tuple[Response, int]:
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
                response = exchange(url, headers, content, max(0.1, min(retry.timeout, left)), retry.clock)
            except NoAnswer as error:
                failure, retry_after = self._clean(error.reason), None
                # Nobody there from the start is an address to correct; later it is a server that restarts.
                nobody_there = error.nobody_there
                if nobody_there and not self._reached:
                    raise self._given_up(failure, attempt + 1, nobody_there) from None
                continue
            self._reached, nobody_there = True, False
            problem = self._problem_in(response)
            status = response.status if response.status >= 300 else _status_of(problem)
            about_format = status == 500 and any(word in response.text().lower() for word in _ABOUT_FORMAT)
            if status not in _PASSING or about_format or _without_credit(problem):
                return replace(response, status=status), attempt + 1
            failure = f"HTTP {status}: {self._said(response)}"
            retry_after = _retry_after(response)
        raise self._given_up(failure, retry.retries + 1, nobody_there)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "segue"}
        return headers | ({"Authorization": f"Bearer {self._key}"} if self._key else {})

    def _only_model(self) -> str:
        response, _ = self._send(None, f"{self.url}/models", self.retry.clock())
        content = response.json()
        listed = content.get("data") if isinstance(content, dict) else None
        names = [m["id"] for m in listed or [] if isinstance(m, dict) and isinstance(m.get("id"), str)]
        if response.status < 300 and len(names) == 1:
            return names[0]
        found = ", ".join(names) if response.status < 300 else f"HTTP {response.status}"
        raise ModelError(
            "Which model of the server is meant is not clear.",
            expected="the name of one model",
            found=f"the server lists {found or 'none'}",
            where=f"{self.url}/models",
            fix="name it: agent:URL?model=NAME",
        )

    # ---- what goes wrong ---------------------------------------------------------------------------------

    def _problem_in(self, response: Response) -> dict[str, Any]:
        """The error object of an answer; some servers send it with status 200."""
        content = response.json()
        problem = content.get("error") if isinstance(content, dict) else None
        if isinstance(problem, str):
            return {"message": problem}
        return problem if isinstance(problem, dict) else {}

    def _said(self, response: Response) -> str:
        """What the server said about a failure, short, without the key."""
        message = self._problem_in(response).get("message")
        return self._clean(str(message) if message else response.text()[:2000])[:300] or "nothing"

    def _clean(self, text: str) -> str:
        """Servers and libraries quote what they were sent; the key must not get into a message that way."""
        return text.replace(self._key, "[key]") if self._key else text

    def _given_up(self, failure: str, attempts: int, nobody_there: bool) -> ModelError:
        error = UnreachableError(
            "The chat model cannot be reached.",
            expected=f"an answer within {self.retry.retries + 1} attempts and {self.retry.total:g} seconds",
            found=f"{failure} (after {attempts} attempt(s))",
            where=self.url,
            fix="check that the server runs and is not overloaded; timeout= and retries= give it more time",
        )
        error.nobody_there = nobody_there
        return error

    def _refusal(self, response: Response) -> ModelError:
        status = response.status
        fix = {
            401: f"set {API_KEY_VARIABLES[0]} or {API_KEY_VARIABLES[1]} to a valid key",
            403: "check that the account behind the key may use this model",
            402: "check the account's credit",
            404: "check the address (it usually ends with /v1) and the model's name",
            413: "send smaller images: side=768 in the model's address",
            429: "check the account's credit and limits",
        }.get(status, "read what the server says; it may not accept images, or not so many")
        if 300 <= status < 400:
            fix = f"use the address that the server names: {response.headers.get('location', 'unknown')}"
        error = RefusedError(
            "The server refused the request.",
            expected="HTTP 200",
            found=f"HTTP {status}: {self._said(response)}",
            where=f"model {self._model!r} at {self.url}",
            fix=self._clean(fix),
        )
        error.concerns_request = status in (400, 413, 415, 422)
        return error


def _response_format(format_: Format, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    if format_ is Format.TEXT or schema is None:
        return {}
    if format_ is Format.JSON_OBJECT:
        return {"response_format": {"type": "json_object"}}
    named = {"name": "grounded_answer", "strict": True, "schema": dict(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _read_reply(response: Response, format_: Format, said: str) -> ChatReply:
    """A completion as a `ChatReply`; NotACompletionError when the answer is not one."""
    content = response.json()
    choices = content.get("choices") if isinstance(content, dict) else None
    if not isinstance(choices, list) or not all(isinstance(c, dict) for c in choices):
        raise NotACompletionError(
            "The server's answer is not a chat completion.",
            expected='a JSON object with "choices"',
            found=said[:120],
            where="the server's answer",
            fix="give the base address of an OpenAI-compatible server; it usually ends with /v1",
        )
    choice = choices[0] if choices else {}
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    usage = content.get("usage")
    counted = usage if isinstance(usage, dict) else {}
    return ChatReply(
        text=_text_of(message.get("content")),
        refusal=_text_of(message.get("refusal")),
        finish_reason=str(choice.get("finish_reason") or "stop"),
        format=format_,
        model=str(content.get("model") or ""),
        usage={k: v for k in ("prompt_tokens", "completion_tokens") if type(v := counted.get(k)) is int},
    )


def _text_of(content: Any) -> str:
    """A message's text; some servers send it in parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [p.get("text") for p in parts if isinstance(p, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def _status_of(problem: Mapping[str, Any]) -> int:
    """The status inside an error object of an answer with status 200; 200 without one."""
    if not problem:
        return 200
    code = problem.get("code", problem.get("status"))
    digits = str(code)
    return int(digits) if digits.isdigit() and 400 <= int(digits[:4]) < 600 else 400


def _too_long(said: str) -> bool:
    return "context" in said and ("length" in said or "maximum" in said or "exceed" in said)


def _without_credit(problem: Mapping[str, Any]) -> bool:
    """A 429 that no waiting cures."""
    return "insufficient_quota" in (problem.get("code"), problem.get("type"))


def _retry_after(response: Response) -> float | None:
    in_ms = read_retry_after(response.headers.get("retry-after-ms"))
    return in_ms / 1000 if in_ms is not None else read_retry_after(response.headers.get("retry-after"))


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
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))
