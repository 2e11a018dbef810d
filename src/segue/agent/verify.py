"""The verify step: each mask is shown back to the chat model, which keeps, drops or redraws it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from PIL import Image

from segue.agent.boxes import Box, read_boxes
from segue.agent.prompts import prompt
from segue.chat_model import ChatModel, Message
from segue.chat_model.json_reply import find_object
from segue.errors import ModelError
from segue.inference.visualize import Layer, colour, draw_overlay
from segue.masks import resize_mask

MOST_VERIFIED = 20
"""Masks of one answer that are shown back; each costs a request."""

VERDICT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "verdict": {"type": "string", "enum": ["keep", "drop", "redraw"]},
        "box": {"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "null"}]},
    },
    "required": ["verdict", "box"],
    "additionalProperties": False,
}

_TOKENS = 512


class Verdict(StrEnum):
    """Fate of a mask."""

    KEEP = "keep"
    DROP = "drop"
    REDRAW = "redraw"


@dataclass(frozen=True)
class Judgement:
    """A verdict on one mask.

    Args:
        verdict: KEEP also when no verdict could be had: a mask is not lost to a broken reply.
        box: As the model counts; given exactly for REDRAW.
        note: What was odd; empty for nothing.
        raw: The reply.
    """

    verdict: Verdict
    box: Box | None = None
    note: str = ""
    raw: str = ""


def judge(
    chat: ChatModel, picture: Image.Image, mask: Any, phrase: str, image_number: int, answer: str, tokens: int
) -> Judgement:
    """Show one mask back.

    Args:
        chat: Who is asked.
        picture: RGB, as it was sent before.
        mask: bool `[H, W]` of the original.
        phrase: What it shall show.
        image_number: As the model counts, from 1.
        answer: The answer that the phrase belongs to.
        tokens: Budget beyond the verdict's own words, for a model's reasoning.
    """
    # No label: its words would cover what is to be judged.
    layer = Layer(resize_mask(mask, (picture.height, picture.width)), "", colour(0))
    question = prompt("agent_verify", image=str(image_number), phrase=phrase, answer=answer[:2000])
    message = Message("user", (draw_overlay(picture, [layer]), question))
    try:
        reply = chat.complete([message], schema=VERDICT_SCHEMA, max_tokens=_TOKENS + tokens, temperature=0.0)
    except ModelError as error:
        return Judgement(Verdict.KEEP, note=f"{phrase!r} was not verified: {error.summary} {error.found}")
    # It may stand beside the text, in reasoning or a tool's arguments; the first that can be read counts.
    readings = [read_verdict(text, phrase) for text in reply.places() or [""]]
    return next((reading for reading in readings if not reading.note), readings[0])


def _as_verdict(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) and isinstance(value.get("verdict"), str) else None


def read_verdict(text: str, phrase: str) -> Judgement:
    """Take a verdict apart; whatever cannot be read keeps the mask."""
    content = find_object(text, _as_verdict).content or {}
    word = str(content.get("verdict", "")).strip().lower()
    boxes = read_boxes(content.get("box") or content.get("bbox") or content.get("bbox_2d"))
    if word == Verdict.REDRAW and boxes:
        return Judgement(Verdict.REDRAW, boxes[0], raw=text)
    if word == Verdict.DROP:
        return Judgement(Verdict.DROP, raw=text)
    if word == Verdict.KEEP:
        return Judgement(Verdict.KEEP, raw=text)
    why = "a new box is missing" if word == Verdict.REDRAW else "the verdict cannot be read"
    return Judgement(Verdict.KEEP, note=f"{phrase!r} is kept as it is: {why}", raw=text)
