"""One question to a chat model: what is asked, the shape of the reply, and what makes a reply unusable.

A model's reply is hostile input: it may be empty, refused, cut off, wrapped in prose, of another shape, or
plausible and wrong. `read_reply` turns each of these into `UnusableReplyError` with a reason in plain words,
which is what the model is told before it tries again, and what the quarantine shows in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib import resources
from string import Template
from typing import Any

from pydantic import BaseModel, ValidationError

from segue.chat_model import ChatReply, Message
from segue.chat_model.json_reply import find_object
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
        said = next(iter(reply.places()), "").strip()[:_LONGEST_QUOTE]
        quoted = (Message("assistant", (said,)),) if said else ()
        return (*self.messages, *quoted, Message("user", (prompt("generation_feedback", reason=reason),)))

    def sampling_of(self, attempt: int) -> dict[str, float | int]:
        """The sampling of attempt 0, 1, ..."""
        if not attempt or "seed" not in self.sampling:
            return dict(self.sampling)
        return self.sampling | {"seed": int(self.sampling["seed"]) + attempt}

    def read(self, reply: ChatReply) -> Reading:
        """The content of a reply, shaped and checked; UnusableReplyError when it is of no use."""
        reading = read_reply(reply, self.shape)
        if self.check is None:
            return reading
        try:
            return replace(reading, value=self.check(reading.value))
        except UnusableReplyError:
            if reading.whole:
                raise
            # What a cut took away is to blame before what is left.
            raise _cut(reply) from None


@dataclass(frozen=True)
class Reading:
    """The content of a reply.

    Attributes:
        value: Of the shape that was asked for; what `Ask.check` made of it.
        notes: What had to be passed over to read it, in sentences; counted in the report.
        whole: False where the reply ended early, and what was complete counts.
    """

    value: Any
    notes: tuple[str, ...] = ()
    whole: bool = True


def read_reply(reply: ChatReply, shape: type[BaseModel]) -> Reading:
    """Read a reply's JSON into a shape.

    Args:
        reply: What came back. The object may stand in a fence, in prose, in a wrapper or a tool's arguments,
            be not quite JSON, or end early: not every server can be held to JSON alone.
        shape: A pydantic model.

    Raises:
        UnusableReplyError: Refused, empty, cut off, not JSON, or of another shape; the reason says where.
    """
    # Before the text is looked at: a refusal in prose would be told back as "not JSON".
    if reply.refusal or reply.finish_reason == "content_filter":
        said = reply.refusal or "the server's filter stopped it"
        raise UnusableReplyError(Problem.REFUSED, f"it refuses: {said[:300]}")
    if not reply.places():
        why = f" ({reply.why_empty})" if reply.why_empty else ""
        raise UnusableReplyError(Problem.EMPTY, f"it is empty{why}")
    # First what fits; then what was meant to, or at least is an object, for the reason.
    for adapt in (partial(_as_shape, shape), partial(_as_meant, shape), _as_object):
        for text in reply.places():
            found = find_object(text, adapt, keep_partial=False)
            if found.content is not None:
                try:
                    value = shape.model_validate(found.content)
                except ValidationError as error:
                    raise (_cut(reply) if not found.whole else _misshapen(error)) from None
                return Reading(value, (*reply.notes, *found.notes), found.whole)
    raise _cut(reply)


def _cut(reply: ChatReply) -> UnusableReplyError:
    if reply.cut_off:
        return UnusableReplyError(
            Problem.CUT_OFF, "it was cut off before the JSON object ended; be more concise"
        )
    return UnusableReplyError(Problem.NOT_JSON, "it is not one complete JSON object")


def _as_shape(shape: type[BaseModel], value: Any) -> dict[str, Any] | None:
    """A value that has the shape; a bare list counts as the only field of one."""
    # [{"question": ...}] where {"qa": [{"question": ...}]} was asked for.
    if isinstance(value, list) and len(shape.model_fields) == 1:
        value = {next(iter(shape.model_fields)): value}
    if not isinstance(value, dict):
        return None
    try:
        shape.model_validate(value)
    except ValidationError:
        return None
    return value


def _as_meant(shape: type[BaseModel], value: Any) -> dict[str, Any] | None:
    # One name in common is enough: the error shall speak of the object that was meant, not of another in the
    # text.
    return value if isinstance(value, dict) and value.keys() & shape.model_fields.keys() else None


def _as_object(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _misshapen(error: ValidationError) -> UnusableReplyError:
    return UnusableReplyError(Problem.WRONG_SHAPE, _wrong_shape(error))


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
    # A separator that no prompt holds: two prompts never read like two others with the border elsewhere.
    return "\0".join(_template(name).template for name in names)
