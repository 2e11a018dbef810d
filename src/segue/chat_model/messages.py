"""Messages to a chat model, and its replies."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, Protocol

from PIL import Image

from segue.images import content_hash

JPEG_QUALITY = 92
"""Quality of pictures on the wire; at 92 the artefacts stay below what a vision encoder resolves."""


class Format(StrEnum):
    """Forms that a server can be asked to hold a reply to, strongest first."""

    JSON_SCHEMA = "json_schema"
    JSON_OBJECT = "json_object"
    TEXT = "text"


@dataclass(frozen=True)
class Message:
    """One message of a conversation.

    Args:
        role: Who speaks.
        content: Texts and RGB images in the order in which the model shall see them.
    """

    role: Literal["system", "user", "assistant"]
    content: tuple[str | Image.Image, ...]

    def to_wire(self) -> dict[str, Any]:
        """The message as the OpenAI API has it; a message of one text is a plain string there."""
        if len(self.content) == 1 and isinstance(self.content[0], str):
            return {"role": self.role, "content": self.content[0]}
        parts = [{"type": "text", "text": p} if isinstance(p, str) else image_part(p) for p in self.content]
        return {"role": self.role, "content": parts}

    def shrunk(self, factor: float) -> Message:
        """The message with its images scaled by a factor below 1."""
        return replace(
            self, content=tuple(p if isinstance(p, str) else _shrunk(p, factor) for p in self.content)
        )

    def to_record(self) -> dict[str, Any]:
        """The message for a recording: an image is named by its pixels, so that files stay small."""
        parts = [p if isinstance(p, str) else {"image": content_hash(p)} for p in self.content]
        return {"role": self.role, "content": parts}


@dataclass(frozen=True)
class ChatReply:
    """A reply of a chat model.

    Args:
        text: The reply; may be empty.
        refusal: The server's own words when the model refused in the field made for it.
        finish_reason: As the server put it: "stop", "length" (cut off), "content_filter", ...
        format: What the reply was held to; weaker than asked for when the server knows no better.
        model: The name that the server answered with.
        usage: Tokens: `prompt_tokens`, `completion_tokens`; empty when the server does not count.
        attempts: Requests that it took.
        seconds: Time that it took, waits included.
        arguments: Texts that were passed to tools; some models answer there.
        reasoning: Text of the fields for reasoning; some servers put the whole answer there.
        why_empty: The server's reason for an empty text, as far as it says one.
        notes: What had to be changed for the server to answer, in sentences.
        image_scale: Factor by which the images were made smaller for that.
    """

    text: str
    refusal: str = ""
    finish_reason: str = "stop"
    format: Format = Format.TEXT
    model: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    attempts: int = 1
    seconds: float = 0.0
    arguments: tuple[str, ...] = ()
    reasoning: str = ""
    why_empty: str = ""
    notes: tuple[str, ...] = ()
    image_scale: float = 1.0

    @classmethod
    def from_record(cls, fields: Mapping[str, Any]) -> ChatReply:
        """The inverse of `dataclasses.asdict`, for files.

        Raises:
            KeyError, TypeError, ValueError: The fields are not those of a reply.
        """
        read: dict[str, Any] = {**fields, "format": Format(fields["format"])}
        read |= {name: tuple(read[name]) for name in ("arguments", "notes") if name in read}
        return cls(**read)

    def places(self) -> list[str]:
        """Texts in which the answer may stand, likeliest first.

        Reasoning counts only where nothing else was said: beside an answer it holds drafts.
        """
        said = [text for text in (self.text, *self.arguments) if text.strip()]
        return said or ([self.reasoning] if self.reasoning.strip() else [])

    @property
    def cut_off(self) -> bool:
        """Tell whether the token budget ended the reply."""
        return self.finish_reason == "length"

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens of prompt and reply; where the server does not count, the reply's are guessed."""
        if not self.usage:
            # Four characters a token: OpenAI's rule of thumb for English.
            return 0, len(self.text) // 4
        return self.usage.get("prompt_tokens", 0), self.usage.get("completion_tokens", 0)


class ChatModel(Protocol):
    """Anything that answers messages."""

    @property
    def name(self) -> str:
        """Name of the model in answers and tables; never an address or a key."""
        ...

    def complete(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        **sampling: float | int,
    ) -> ChatReply:
        """Answer the messages.

        Args:
            messages: Oldest first.
            schema: JSON Schema that the reply shall follow. A wish: check the reply all the same.
            max_tokens: Budget of the reply.
            **sampling: `temperature`, `top_p`, `seed`.

        Raises:
            ModelError: No reply could be had; the message says why.
        """
        ...


def _shrunk(image: Image.Image, factor: float) -> Image.Image:
    width, height = (max(1, round(side * factor)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def image_part(image: Image.Image) -> dict[str, Any]:
    """An image as a content part with a data URL."""
    buffer = io.BytesIO()
    # JPEG has no transparency, and Pillow refuses to save a picture that has.
    image.convert("RGB").save(buffer, format="JPEG", quality=JPEG_QUALITY)
    coded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{coded}"}}


def fingerprint(
    model: str,
    messages: Sequence[Message],
    schema: Mapping[str, Any] | None,
    max_tokens: int | None,
    sampling: Mapping[str, float | int],
    attempt: int = 0,
) -> str:
    """SHA-256 of a request: equal for the same model, words, pixels and options. Key of recordings.

    A request that is made again on purpose, because the reply to it was of no use, is another request: it
    has another `attempt`.
    """
    content: dict[str, Any] = {
        "model": model,
        "messages": [message.to_record() for message in messages],
        "schema": schema,
        "max_tokens": max_tokens,
        "sampling": dict(sampling),
    }
    # Attempt 0 is the same request as one without attempts, so a recording and a cache agree on its key.
    if attempt:
        content["attempt"] = attempt
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
