"""Known fields beside the messages: each is honoured, or refused by its name; null is as good as absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segue.apps.server.errors import ApiError, refusal
from segue.inference.inputs import MAX_NEW_TOKENS

_GREEDY_BELOW = 0.01
"""A temperature below this is greedy decoding but for rounding; transformers refuses 0."""

# Field -> values that ask for nothing beyond what is done anyway; with any other the answer would differ.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "prompt_logprobs": (0, False),
    "logit_bias": ({}, []),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "repeat_penalty": (1,),
    "length_penalty": (1,),
    "typical_p": (1,),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("auto", "none"),
    "function_call": ("auto", "none"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"], []),
    "audio": ({},),
    "web_search_options": (),
    "verbosity": ("medium",),
    "use_beam_search": (False,),
    "num_beams": (1,),
    "min_tokens": (0,),
    "ignore_eos": (False,),
    "stop_token_ids": ([],),
    "bad_words": ([],),
    "allowed_token_ids": (),
    "include_stop_str_in_output": (False,),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "echo": (False,),
    "suffix": ("",),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "add_special_tokens": (False, True),
    "chat_template": (),
    "chat_template_kwargs": ({},),
    "documents": ([],),
    "mm_processor_kwargs": ({},),
    "truncate_prompt_tokens": (),
    "logits_processors": ([],),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
    "structured_outputs": (),
    "json_schema": (),
    "grammar": (),
    "regex": (),
    "format": ("",),
    "mirostat": (0,),
    "images": ([],),
    "files": ([],),
    "attachments": ([],),
    "regions": ([],),
    "system": ("",),
    "prompt": ("",),
    "instructions": ("",),
    "input": ("",),
}
_WHY = {
    "regions": "they stand in the user message whose question points at them",
    "n": "one answer is given to a request",
    "images": "pictures are read from the parts of messages only",
    "files": "pictures are read from the parts of messages only",
    "attachments": "pictures are read from the parts of messages only",
}


@dataclass(frozen=True)
class Sampling:
    """How an answer is generated.

    Attributes:
        max_new_tokens: Its budget.
        options: For `GroundingSession.stream`; empty for greedy decoding.
        seed: Of the sampling; None for any.
        stops: Texts that end the answer before them.
    """

    max_new_tokens: int
    options: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    stops: tuple[str, ...] = ()


def read_sampling(body: Mapping[str, Any]) -> Sampling:
    """Read the known fields of a chat completion beside `model`, `messages` and those of the stream.

    Raises:
        ApiError: A value out of its range, or a field that is known and not honoured.
    """
    refuse_unheeded(body)
    temperature = _number(body, "temperature", 0.0, 2.0)
    chosen: dict[str, Any] = {}
    top_p = _number(body, "top_p", 0.0, 1.0)
    top_k = _integer(body, "top_k", -1, 1 << 31)
    min_p = _number(body, "min_p", 0.0, 1.0)
    seed = _integer(body, "seed", -(1 << 63), (1 << 63) - 1)
    # Without a temperature greedy: what is asked about pictures has an answer, and the same twice.
    if temperature is not None and temperature >= _GREEDY_BELOW:
        chosen = {"do_sample": True, "temperature": temperature, "top_k": max(top_k or 0, 0)}
        # 0 would leave no token; the likeliest one is what is meant.
        if top_p is not None:
            chosen["top_p"] = max(top_p, 1e-6)
        if min_p:
            chosen["min_p"] = min_p
    return Sampling(_budget(body), chosen, seed, _stops(body))


def refuse_unheeded(body: Mapping[str, Any], prefix: str = "") -> None:
    """Refuse known fields that ask for something that is not done here."""
    for name, neutral in _NEUTRAL.items():
        value = body.get(name)
        if value is None or any(_same(value, allowed) for allowed in neutral):
            continue
        raise refusal(
            f"`{name}` is not supported" + (f": {_WHY[name]}." if name in _WHY else "."),
            prefix + name,
            code="unsupported_value" if neutral else "unsupported_parameter",
            expected="null" + "".join(f", or {allowed!r}" for allowed in neutral),
            found=repr(value)[:200],
            fix=f"leave {name} out",
        )


def _same(value: Any, allowed: Any) -> bool:
    """Equal, and not merely as `True == 1` is."""
    return isinstance(value, bool) == isinstance(allowed, bool) and bool(value == allowed)


def _budget(body: Mapping[str, Any]) -> int:
    """Two names of one limit: the smaller of both holds."""
    names = ("max_completion_tokens", "max_tokens")
    given = [value for name in names if (value := _integer(body, name, 1, 1 << 31)) is not None]
    return min(given, default=MAX_NEW_TOKENS)


def _stops(body: Mapping[str, Any]) -> tuple[str, ...]:
    value = body.get("stop")
    stops = [] if value in (None, "") else [value] if isinstance(value, str) else value
    right = isinstance(stops, list) and all(isinstance(s, str) and 0 < len(s) <= 200 for s in stops)
    if not right or len(stops) > 16:
        raise _wrong("stop", "a text, or up to 16 of them, of 1 to 200 characters", value)
    return tuple(stops)


def _number(body: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # NaN and infinities lie in no range.
    if not is_number or not low <= value <= high:
        raise _wrong(name, f"a number from {low:g} to {high:g}", value)
    return float(value)


def _integer(body: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _wrong(name, f"an integer from {low} to {high}", value)
    return value


def _wrong(name: str, expected: str, value: Any) -> ApiError:
    return refusal(
        f"`{name}` has a value that it cannot have.", name, code="invalid_value",
        expected=expected, found=repr(value)[:200], fix=f"change {name}, or leave it out",
    )  # fmt: skip
