"""One question to a chat model: what is asked, the shape of the reply, and what makes a reply unusable.

A model's reply is hostile input: it may be empty, refused, cut off, wrapped in prose, of another shape, or
plausible and wrong. `read_reply` turns each of these into `UnusableReplyError` with a reason in plain words,
which is what the model is told before it tries again, and what the quarantine shows in the end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from string import Template
from typing import Any

from pydantic import BaseModel, ValidationError

from segue.chat_model import ChatReply, Message
from segue.datasets.generation.problems import Problem, UnusableReplyError

_LONGEST_QUOTE = 6000
"""Characters of an unusable reply that the model is shown again; more says nothing that less does not."""


@dataclass(frozen=True)
class Ask:
    """A request whose reply is read into `shape` and then checked.

    Attributes:
        step: Short name for reports, such as "elements".
        messages: Oldest first; texts and RGB images.
        shape: The reply as a pydantic model. Its JSON schema is sent along; use `extra="forbid"` and no
            defaults where servers with strict schemas shall accept it.
        check: Looks at what no schema can say. Returns what the job goes on with; raises
            `UnusableReplyError` to refuse the reply. By default the shape itself is returned.
        max_tokens: Budget of the reply.
        sampling: `temperature`, `top_p`, `seed`. A seed grows by one with each new attempt, since asking
            again in the very same way would bring the very same reply.

    Source: paper silent; ours.
    """

    step: str
    messages: Sequence[Message]
    shape: type[BaseModel]
    check: Callable[[Any], Any] | None = None
    max_tokens: int = 2048
    sampling: dict[str, float | int] = field(default_factory=dict)

    def again(self, reply: ChatReply, reason: str) -> tuple[Message, ...]:
        """The messages of the next attempt: those of the first, the last reply, and what is wrong with it."""
        said = reply.text.strip()[:_LONGEST_QUOTE]
        quoted = (Message("assistant", (said,)),) if said else ()
        return (*self.messages, *quoted, Message("user", (prompt("generation_feedback", reason=reason),)))

    def sampling_of(self, attempt: int) -> dict[str, float | int]:
        """The sampling of attempt 0, 1, ..."""
        if not attempt or "seed" not in self.sampling:
            return dict(self.sampling)
        return self.sampling | {"seed": int(self.sampling["seed"]) + attempt}

    def read(self, reply: ChatReply) -> Any:
        """Return what `check` makes of a reply; UnusableReplyError when it is of no use."""
        shaped = read_reply(reply, self.shape)
        return shaped if self.check is None else self.check(shaped)


def read_reply(reply: ChatReply, shape: type[BaseModel]) -> BaseModel:
    """Read a reply's JSON into a shape.

    Args:
        reply: What came back. A fence around the JSON, or prose before and after it, is passed over: not
            every server can be held to JSON alone.
        shape: A pydantic model.

    Raises:
        UnusableReplyError: Refused, empty, cut off, not JSON, or of another shape; the reason says where.
    """
    if reply.refusal or reply.finish_reason == "content_filter":
        said = reply.refusal or "the server's filter stopped it"
        raise UnusableReplyError(Problem.REFUSED, f"it refuses: {said[:300]}")
    if not reply.text.strip():
        raise UnusableReplyError(Problem.EMPTY, "it is empty")
    content = _json_in(reply.text)
    if content is None:
        if reply.cut_off:
            raise UnusableReplyError(
                Problem.CUT_OFF, "it was cut off before the JSON object ended; be more concise"
            )
        raise UnusableReplyError(Problem.NOT_JSON, "it is not one complete JSON object")
    try:
        return shape.model_validate(content)
    except ValidationError as error:
        raise UnusableReplyError(Problem.WRONG_SHAPE, _wrong_shape(error)) from None


def _json_in(text: str) -> dict[str, Any] | None:
    """The JSON object of a reply: all of it, the inside of a fence, or from the first brace to the last."""
    fenced = re.search(r"```(?:json)?\s*\n(.*?)```", text, re.DOTALL | re.IGNORECASE)
    outer = text[text.find("{") : text.rfind("}") + 1]
    for candidate in (text, fenced[1] if fenced else "", outer):
        try:
            content = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict):
            return content
    return None


def _wrong_shape(error: ValidationError) -> str:
    """The first findings, each with its place: "dialogues.0.turns: Field required"."""
    findings = error.errors(include_url=False, include_context=False)
    told = [f"{'.'.join(map(str, f['loc'])) or 'the object'}: {f['msg']}" for f in findings[:5]]
    more = f"; and {len(findings) - 5} more" if len(findings) > 5 else ""
    return "its JSON has another shape than asked for: " + "; ".join(told) + more


def prompt(name: str, **values: str) -> str:
    """A prompt of `segue/prompts` with its `$names` filled in; KeyError when one of them is not given."""
    return _template(name).substitute(values).strip()


@cache
def _template(name: str) -> Template:
    return Template((resources.files("segue") / "prompts" / f"{name}.txt").read_text(encoding="utf-8"))


def prompt_digest(*names: str) -> str:
    """The texts of prompts, joined; for `GenerationJob.identity`, so that a new wording is a new job."""
    return "\0".join(_template(name).template for name in names)
