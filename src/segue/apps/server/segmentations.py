"""`POST /v1/images/segmentations`: a prompt over one or several pictures, as a form; masks."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from PIL import Image
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from segue import masks
from segue.apps.server.completion import usage_of
from segue.apps.server.engine import events_of_job
from segue.apps.server.errors import json_response, refusal
from segue.apps.server.messages import Dialogue
from segue.apps.server.sampling import Sampling, refuse_unheeded
from segue.apps.server.service import Service, time_limit, unless_left
from segue.inference.inputs import MAX_NEW_TOKENS, check_number, check_question
from segue.records import Grounding
from segue.records.conversation import MAX_IMAGES

if TYPE_CHECKING:
    from segue.inference.answer import SessionAnswer

_IMAGE_FIELDS = ("image", "image[]", "images", "images[]")
_UNHEEDED = ("mask", "points", "point_labels", "negative_prompt", "regions", "size")
_FORMATS = ("png", "rle")
_LEFT = 499


@dataclass
class _Form:
    """What a form asks for."""

    files: list[tuple[str, bytes]] = field(default_factory=list)
    prompt: str = ""
    model: str | None = None
    mask_format: str = "png"


async def segment(service: Service, request: Request) -> Response:
    """Answer with all masks of a prompt.

    Raises:
        ApiError: Whatever is wrong with the form.
    """
    form = await _read(await service.bodies.read(request), request.headers)
    service.check_model(form.model)
    check_number(len(form.files))
    dialogue = Dialogue(question=question_of(check_question(form.prompt)))
    async with AsyncExitStack() as held:
        held.enter_context(service.engine.place())
        pictures = await held.enter_async_context(service.decoded(form.files))
        job = service.job(dialogue, pictures, Sampling(MAX_NEW_TOKENS), streamed=False)

        async def work() -> Response:
            from segue.inference.streaming import Done

            async with time_limit(service.settings.timeout), aclosing(
                events_of_job(job, service.engine)
            ) as events:  # fmt: skip
                async for event in events:
                    if isinstance(event, Done):
                        answer = event.answer
            service.metrics.answer(answer, len(pictures))
            return json_response(_content(answer, form.mask_format))

        return await unless_left(request, work) or Response(status_code=_LEFT)


def question_of(prompt: str) -> str:
    """A prompt as the question that a model is asked: names of things become a request."""
    return prompt if prompt[-1] in ".?!" else f"Segment {prompt}."


async def _read(body: bytes, headers: Headers) -> _Form:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        # Parts of more than a megabyte lie in temporary files without a name.
        parser = MultiPartParser(headers, stream(), max_files=4 * MAX_IMAGES, max_fields=64)
        found = await parser.parse()
    except (MultiPartException, KeyError, ValueError, AssertionError) as error:
        raise refusal(
            "The body is no form.", None, code="invalid_form", expected="multipart/form-data with a boundary",
            found=str(getattr(error, "message", error))[:200], fix="send image files and a prompt as a form",
        ) from None  # fmt: skip
    form, values = _Form(), dict[str, str]()
    try:
        for name, value in found.multi_items():
            if isinstance(value, UploadFile) and name in _IMAGE_FIELDS:
                # What the client calls the file is not looked at: it might be any path.
                form.files.append((name, await value.read()))
            elif isinstance(value, UploadFile):
                raise _unheeded(name)
            elif name in _IMAGE_FIELDS:
                raise _wrong(name, "a file", "a text", "send the picture's bytes, with a filename")
            else:
                values[name] = value
    finally:
        await found.close()
    return _with_values(form, values)


def _with_values(form: _Form, values: dict[str, str]) -> _Form:
    if len(form.files) == 0:
        raise _wrong("image", "one to nine picture files", "none", "add a file `image`")
    for name in ("boxes", "box_labels", *_UNHEEDED):
        if not _is_empty(values.get(name)):
            raise _unheeded(name)
    read = dict[str, Any]()
    if values.get("n"):
        read["n"] = int(values["n"]) if values["n"].isdecimal() and len(values["n"]) < 9 else values["n"]
    refuse_unheeded(read)
    if values.get("response_format") not in (None, "", "b64_json", "json"):
        raise _wrong("response_format", "b64_json", values["response_format"], "leave it out")
    form.mask_format = values.get("mask_format") or "png"
    if form.mask_format not in _FORMATS:
        raise _wrong("mask_format", "png or rle", form.mask_format, "choose one of them")
    if "prompt" not in values:
        raise _wrong("prompt", "a text", "none", "say what is to be segmented")
    form.prompt, form.model = values["prompt"], values.get("model") or None
    return form


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
    return _wrong(name, "a prompt in words, and no other hints", "a value", f"leave {name} out")


def _wrong(name: str, expected: str, found: str, fix: str) -> Any:
    return refusal(
        f"`{name}` cannot be used.", name, code="invalid_value", expected=expected, found=found[:200], fix=fix
    )
