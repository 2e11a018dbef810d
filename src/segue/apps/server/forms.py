"""Forms (multipart/form-data) of the routes for images: picture files, other files, and texts."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from segue.apps.server.errors import ApiError, refusal
from segue.records.conversation import MAX_IMAGES

_IMAGE_FIELDS = ("image", "image[]", "images", "images[]")


@dataclass
class Form:
    """What a form holds.

    Attributes:
        pictures: Field and bytes of each picture file, in order.
        files: Bytes of files in other fields.
        values: Texts by their field; of a field that comes twice, the last.
    """

    pictures: list[tuple[str, bytes]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)


async def read_form(body: bytes, headers: Headers) -> Form:
    """Read a form.

    Raises:
        ApiError: It is none, or a text stands where a picture has to.
    """

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        # Parts of more than a megabyte lie in temporary files without a name.
        parser = MultiPartParser(headers, stream(), max_files=4 * MAX_IMAGES, max_fields=64)
        found = await parser.parse()
    except (MultiPartException, KeyError, ValueError, AssertionError) as error:
        raise refusal(
            "The body is no form.", None, code="invalid_form", expected="multipart/form-data with a boundary",
            found=str(getattr(error, "message", error))[:200], fix="send image files and texts as a form",
        ) from None  # fmt: skip
    form = Form()
    try:
        for name, value in found.multi_items():
            if isinstance(value, UploadFile) and name in _IMAGE_FIELDS:
                # What the client calls the file is not looked at: it might be any path.
                form.pictures.append((name, await value.read()))
            elif isinstance(value, UploadFile):
                form.files[name] = await value.read()
            elif name in _IMAGE_FIELDS:
                raise wrong(name, "a file", "a text", "send the picture's bytes, with a filename")
            else:
                form.values[name] = value
    finally:
        await found.close()
    if not form.pictures:
        raise wrong("image", "one to nine picture files", "none", "add a file `image`")
    return form


def json_of(form: Form, name: str, expected: str) -> Any:
    """The JSON that a text field holds; None where it is absent or empty.

    Raises:
        ApiError: It is no JSON.
    """
    text = form.values.get(name, "")
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise wrong(name, expected, text, "send it as JSON") from None


def wrong(name: str, expected: str, found: str, fix: str) -> ApiError:
    """A field that cannot be used."""
    return refusal(
        f"`{name}` cannot be used.", name, code="invalid_value", expected=expected, found=found[:200], fix=fix
    )
