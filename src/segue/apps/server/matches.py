"""`POST /v1/images/matches`: what is marked in one picture, found in the others, by a form."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, cast

from starlette.requests import Request
from starlette.responses import Response

from segue.apps.server.engine import Job
from segue.apps.server.errors import json_response, refusal
from segue.apps.server.forms import Form, json_of, read_form, wrong
from segue.apps.server.regions import FORMS, Mark, RegionRef, checked_region, read_value
from segue.apps.server.sampling import Sampling
from segue.apps.server.service import Service, time_limit, unless_left
from segue.inference.inputs import MAX_NEW_TOKENS, check_number

if TYPE_CHECKING:
    from segue.inference.matching import MatchAnswer

_UNHEEDED = ("prompt", "regions", "boxes", "points", "negative_prompt")
_LEFT = 499


async def find_matches(service: Service, request: Request) -> Response:
    """Answer with the content of `match.json`, see docs/matching.md.

    Raises:
        ApiError: Whatever is wrong with the form.
    """
    form = await read_form(await service.bodies.read(request), request.headers)
    service.check_model(form.values.get("model") or None)
    check_number(len(form.pictures))
    if len(form.pictures) < 2:
        raise wrong("image", "the picture with the mark, and one or more to look in", "one", "add a file")
    ref, threshold = _mark(form), _threshold(form)
    async with AsyncExitStack() as held:
        held.enter_context(service.engine.place())
        pictures = await held.enter_async_context(service.decoded(form.pictures))
        hws = [(picture.image.height, picture.image.width) for picture in pictures]
        mark = Mark(checked_region(ref, hws), threshold)
        job = Job(pictures, [], "", Sampling(MAX_NEW_TOKENS), streamed=False, mark=mark)

        async def work() -> Response:
            async with time_limit(service.settings.timeout):
                answer = cast("MatchAnswer", await service.whole_answer(job))
            head = {"created": int(time.time()), "text": answer.text}
            return json_response(head | answer.to_match_json())

        return await unless_left(request, work) or Response(status_code=_LEFT)


def _mark(form: Form) -> RegionRef:
    """The region that a form marks; in the first picture, unless `image_index` says another."""
    for name in _UNHEEDED:
        if form.values.get(name, "").strip():
            raise wrong(name, "a mark, and no words", "a value", f"leave {name} out")
    for name in form.files:
        if name != "mask":
            raise wrong(name, "files `image` and `mask`", "a file", f"leave {name} out")
    given = [form_ for form_ in FORMS if form.values.get(form_, "").strip() or form_ in form.files]
    if len(given) != 1:
        raise refusal(
            "Nothing is marked." if not given else "A mark is one thing.", "box", code="invalid_value",
            expected=f"exactly one of {', '.join(FORMS)}", found=" and ".join(given) or "none of them",
            fix="send one of them beside the pictures",
        )  # fmt: skip
    (kind,) = given
    index = json_of(form, "image_index", "number of the marked picture, from 0")
    if index is not None and (not isinstance(index, int) or isinstance(index, bool) or index < 0):
        raise wrong("image_index", "number of the marked picture, from 0", repr(index), "leave it out for 0")
    return RegionRef(kind, index or 0, kind, _value(form, kind))


def _value(form: Form, kind: str) -> Any:
    if kind in form.files:
        return form.files[kind]
    if kind == "mask":
        return read_value(kind, form.values[kind], kind)
    text = form.values[kind].strip()
    if kind != "segmentation" and not text.startswith("["):
        # As it is written on the command line: 40,60,210,300.
        form.values[kind] = f"[{text}]"
    expected = {"box": "[left, top, right, bottom]", "point": "[x, y]"}.get(kind, "COCO RLE as JSON")
    return read_value(kind, json_of(form, kind, expected), kind)


def _threshold(form: Form) -> float | None:
    value = json_of(form, "threshold", "a number from 0")
    if value is None:
        return None
    # NaN lies in no range.
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1e9:
        raise wrong("threshold", "a number from 0", repr(value), "leave it out for the model's own")
    return float(value)
