"""`POST /v1/images/segmentations`: a prompt over one or several pictures, as a form; masks."""

from __future__ import annotations

import base64
import io
import json
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image
from starlette.requests import Request
from starlette.responses import Response

from segue import masks
from segue.apps.server.completion import usage_of
from segue.apps.server.errors import json_response
from segue.apps.server.forms import Form, json_of, read_form, wrong
from segue.apps.server.messages import Dialogue
from segue.apps.server.regions import marked_question, read_regions
from segue.apps.server.sampling import Sampling, refuse_unheeded
from segue.apps.server.service import Service, time_limit, unless_left
from segue.inference.inputs import MAX_NEW_TOKENS, check_number, check_question
from segue.records import Grounding

if TYPE_CHECKING:
    from segue.inference.answer import SessionAnswer

_UNHEEDED = ("mask", "points", "point_labels", "negative_prompt", "size")
_FORMATS = ("png", "rle")
_LEFT = 499


@dataclass(frozen=True)
class _Wanted:
    """What a form asks for."""

    prompt: str
    model: str | None
    mask_format: str
    regions: Any


async def segment(service: Service, request: Request) -> Response:
    """Answer with all masks of a prompt.

    Raises:
        ApiError: Whatever is wrong with the form.
    """
    form = await read_form(await service.bodies.read(request), request.headers)
    wanted = _wanted(form)
    service.check_model(wanted.model)
    check_number(len(form.pictures))
    regions = read_regions(wanted.regions, "regions", service.settings.most_regions)
    question = marked_question(question_of(check_question(wanted.prompt)), regions)
    async with AsyncExitStack() as held:
        held.enter_context(service.engine.place())
        pictures = await held.enter_async_context(service.decoded(form.pictures))
        dialogue = Dialogue(question=question, pointed=[regions])
        pointed = await service.pointed(dialogue, pictures)
        job = service.job(dialogue, pictures, Sampling(MAX_NEW_TOKENS), streamed=False, pointed=pointed)

        async def work() -> Response:
            async with time_limit(service.settings.timeout):
                answer = await service.whole_answer(job)
            return json_response(_content(answer, wanted.mask_format))

        return await unless_left(request, work) or Response(status_code=_LEFT)


def question_of(prompt: str) -> str:
    """A prompt as the question that a model is asked: names of things become a request."""
    return prompt if prompt[-1] in ".?!" else f"Segment {prompt}."


def _wanted(form: Form) -> _Wanted:
    values = form.values
    for name in form.files:
        raise _unheeded(name)
    for name in ("boxes", "box_labels", *_UNHEEDED):
        if not _is_empty(values.get(name)):
            raise _unheeded(name)
    read = dict[str, Any]()
    if values.get("n"):
        read["n"] = int(values["n"]) if values["n"].isdecimal() and len(values["n"]) < 9 else values["n"]
    refuse_unheeded(read)
    if values.get("response_format") not in (None, "", "b64_json", "json"):
        raise wrong("response_format", "b64_json", values["response_format"], "leave it out")
    mask_format = values.get("mask_format") or "png"
    if mask_format not in _FORMATS:
        raise wrong("mask_format", "png or rle", mask_format, "choose one of them")
    if "prompt" not in values:
        raise wrong("prompt", "a text", "none", "say what is to be segmented")
    regions = json_of(form, "regions", '[{"image_index": 0, "box": [x0, y0, x1, y1]}]')
    return _Wanted(values["prompt"], values.get("model") or None, mask_format, regions)


def _is_empty(value: str | None) -> bool:
    """Absent, or a JSON text of nothing."""
    if value is None or not value.strip():
        return True
    try:
        return not json.loads(value)
    except (ValueError, RecursionError):
        return False


def _content(answer: SessionAnswer, mask_format: str) -> dict[str, Any]:
    return {
        "created": int(time.time()),
        "model": answer.model,
        "data": [_segment(grounding, mask_format) for grounding in answer.groundings],
        "text": answer.text,
        "usage": usage_of(answer),
    }


def _segment(grounding: Grounding, mask_format: str) -> dict[str, Any]:
    x, y, width, height = (float(value) for value in grounding.box)
    return {
        "mask": _png(grounding.mask) if mask_format == "png" else masks.encode(grounding.mask),
        "score": float(grounding.score),
        "box": [x, y, x + width, y + height],
        "image_index": grounding.image_index,
        "phrase": grounding.phrase,
        "area": masks.area(grounding.mask),
        "presence": None if grounding.presence is None else grounding.presence.to_json(),
    }


def _png(mask: masks.Mask) -> str:
    """White on black, one bit a pixel, in base64."""
    out = io.BytesIO()
    Image.fromarray(mask).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def _unheeded(name: str) -> Any:
    fix = f"leave {name} out; POST /v1/images/matches finds what is marked"
    return wrong(name, "a prompt in words, with `regions` for its markers", "a value", fix)
