"""Meaning of an error for the next request: wait, ask for less, ask for something shorter, or give up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""Statuses after which the same request may succeed."""

_NOT_UNDERSTOOD = frozenset({400, 404, 415, 422, 500, 501})
"""Statuses with which servers refuse a parameter that they do not know."""

_NAMED_STATUS = (
    (429, ("rate_limit", "rate limit", "too many requests", "resource_exhausted")),
    (503, ("overloaded", "unavailable", "temporarily", "try again", "capacity", "busy")),
    (504, ("timeout", "timed out")),
    (502, ("upstream", "provider returned error", "bad gateway")),
    (500, ("server_error", "internal error", "internal server", "internal_error", "enginecore")),
    (401, ("authentication", "invalid api key", "invalid_api_key", "unauthorized")),
)
"""Words of an error without a number -> the status that it would have."""

_ABOUT_FORMAT = ("response_format", "json_schema", "json_object", "json schema", "guided", "grammar",
                 "structured output")  # fmt: skip


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


# "[^.]{0,60}": within a sentence, and near.
_NO_IMAGES = _any_of(
    r"mmproj",
    r"image_url",
    r"image input",
    r"input image",
    r"\bimages?\b[^.]{0,60}(?:not |un)support",
    r"(?:not |n't |un)support\w*[^.]{0,60}\b(?:image|vision|multi-?modal)",
    r"not a (?:multi-?modal|vision)",
    r"(?:only|just) (?:supports? |accepts? )?text",
    r"cannot (?:see|process|read) images?",
    r"(?:image|vision|multi-?modal)[^.]{0,40}(?:is|are) (?:not|disabled)",
)
_NOT_SUPPORTED = _any_of(
    r"not support",
    r"n't support",
    r"unsupported",
    r"not implemented",
    r"unknown variant",
    r"(?:invalid|unknown) content[ _](?:part|type)",
    r"more system memory",
    r"no such model",
    r"model[^.]{0,60}(?:not found|does not exist)",
)
_TOO_LONG = _any_of(
    r"context[ _-]?(?:length|size|window|limit)",
    r"exceed_context",
    r"maximum context",
    r"max_model_len",
    r"maximum model length",
    r"(?:prompt|input|request|message|conversation)s?[^.]{0,40}too (?:long|large|many tokens)",
    r"too many (?:input |prompt )?tokens",
    r"exceeds?[^.]{0,60}\btokens?\b",
    r"exceed[^.]{0,40}context",
    r"reduce the length",
    r"(?:inputs?|prompt)[^.]{0,60}must (?:be|have)[^.]{0,30}<=?",
)
_TOO_LARGE = _any_of(
    r"payload too large",
    r"entity too large",
    r"body (?:is )?too large",
    r"image[^.]{0,40}too (?:large|big)",
)
_CREDIT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "credit balance",
           "insufficient balance", "insufficient credit", "insufficient funds", "out of credits")  # fmt: skip

_CONTEXT = (
    re.compile(r"(?:context[a-z -]{0,30}?|model length|max_model_len|n_ctx)[^\d\n]{0,40}?(\d{3,8})"),
    re.compile(r"(?:maximum|limit)\b[^\d\n]{0,60}?(\d{3,8})"),
)
_PROMPT = (
    re.compile(r"(\d{2,8})\s*(?:tokens\s*)?(?:in|from|of) (?:the|your) (?:messages|prompt|input)"),
    re.compile(r"(\d{2,8})\s+`?(?:input|prompt|text|inputs|context)`?\s+tokens"),
    re.compile(
        r"(?:prompt|input|inputs|messages|n_prompt_tokens|request has|resulted in)\b[^\d\n]{0,40}?(\d{2,8})"
    ),
)


@dataclass(frozen=True)
class ContextRoom:
    """Numbers of a server whose context was too small for a request; None where it does not say them.

    Args:
        context: Tokens that it can hold.
        prompt: Tokens of the messages and images.
    """

    context: int | None
    prompt: int | None

    @property
    def left(self) -> int | None:
        """Tokens that are left for a reply, with a margin for prompts that are counted "at least"."""
        if self.context is None or self.prompt is None:
            return None
        return self.context - self.prompt - max(16, self.context // 64)


def status_in(problem: Mapping[str, Any]) -> int:
    """The status inside an error object of an answer with status 200; 200 without one."""
    if not problem:
        return 200
    for name in ("code", "status", "status_code"):
        digits = str(problem.get(name))
        if digits.isdigit() and 400 <= int(digits[:4]) < 600:
            return int(digits[:4])
    said = " ".join(str(problem.get(name, "")) for name in ("type", "code", "message")).lower()
    return next((status for status, words in _NAMED_STATUS if any(word in said for word in words)), 400)


def passes(status: int, said: str, problem: Mapping[str, Any]) -> bool:
    """Tell whether the same request may succeed later.

    Args:
        status: Of the answer.
        said: The server's words in lower case.
        problem: The error object.
    """
    if status not in _PASSING or without_credit(said, problem):
        return False
    # Many servers answer 500 to whatever they cannot do; it will not become possible by waiting.
    lasting = is_about_images(said) or is_too_long(status, said) or _NOT_SUPPORTED.search(said)
    return not (status in (500, 502, 503) and (lasting or is_about_format(said)))


def is_about_format(said: str) -> bool:
    """Tell whether the words are about `response_format`."""
    return any(word in said for word in _ABOUT_FORMAT)


def is_about_images(said: str) -> bool:
    """Tell whether the words say that the model, or the server, sees no images."""
    return _NO_IMAGES.search(said) is not None and not is_about_size(said)


def is_about_size(said: str) -> bool:
    """Tell whether the words say that an image, or the request, has too many bytes or pixels."""
    return _TOO_LARGE.search(said) is not None


def is_too_long(status: int, said: str) -> bool:
    """Tell whether a request has more tokens, or bytes, than the server takes."""
    # A 429 that speaks of tokens means those of a minute.
    return status == 413 or is_about_size(said) or (status != 429 and _TOO_LONG.search(said) is not None)


def without_credit(said: str, problem: Mapping[str, Any]) -> bool:
    """Tell whether the account has nothing left, which no waiting cures."""
    named = (problem.get("code"), problem.get("type"))
    return any(word in named for word in _CREDIT) or any(word in said for word in _CREDIT)


def may_be_about_options(status: int, said: str) -> bool:
    """Tell whether the same messages with fewer options may be taken."""
    return status in _NOT_UNDERSTOOD and not is_about_images(said) and not is_too_long(status, said)


def may_be_about_format(status: int, said: str) -> bool:
    """Tell whether the same messages with a weaker format may be taken; a bare "bad request" may."""
    return may_be_about_options(status, said) and (status not in (404, 500) or is_about_format(said))


def room_in(said: str, problem: Mapping[str, Any]) -> ContextRoom:
    """The numbers in a refusal for length.

    "maximum context length is 4096 tokens ... 2048 output tokens and ... 2600 input tokens" -> 4096, 2600.

    Args:
        said: The server's words in lower case.
        problem: The error object; llama.cpp has the numbers in it.
    """
    # "128,000" and "128_000" to "128000".
    said = re.sub(r"(?<=\d)[,_](?=\d{3})", "", said)
    context, prompt = problem.get("n_ctx"), problem.get("n_prompt_tokens")
    if type(context) is not int:
        found = next((m for pattern in _CONTEXT if (m := pattern.search(said))), None)
        # "190000 + 20000 > 200000": what the sum exceeds.
        beyond = re.search(r">\s*(\d{3,8})|<=?\s*(\d{3,8})", said)
        context = int(next(filter(None, beyond.groups()))) if beyond else int(found[1]) if found else None
    if type(prompt) is not int:
        matches = (pattern.search(said) for pattern in _PROMPT)
        prompt = next((int(m[1]) for m in matches if m and int(m[1]) != context), None)
        summed = re.search(r"(\d{2,8})\s*\+\s*(\d{2,8})\s*>", said)
        prompt = int(summed[1]) if summed else prompt
    return ContextRoom(context, prompt)


def advice(status: int, said: str, key_variables: tuple[str, ...], location: str) -> str:
    """Advice about a refusal."""
    if is_about_images(said):
        return "load a model that sees images (with llama.cpp: together with its mmproj file)"
    if is_about_size(said) or status == 413:
        return "send smaller images: side=768 in the model's address"
    if is_too_long(status, said):
        return (
            "leave fewer tokens for the reply or send smaller images: tokens=500 or side=512 in the model's "
            "address; or serve the model with a longer context"
        )
    if 300 <= status < 400:
        return f"use the address that the server names: {location or 'unknown'}"
    return {
        401: f"set {' or '.join(key_variables)} to a valid key",
        402: "check the account's credit",
        403: "check that the account behind the key may use this model",
        404: "check the address (it usually ends with /v1) and the model's name",
        429: "check the account's credit and limits",
    }.get(status, "read what the server says; it may not accept images, or not so many")
