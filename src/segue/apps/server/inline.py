"""Files that stand in a request itself: data URLs, and bare base64."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from segue.apps.server.errors import ApiError, refusal

_DATA = re.compile(r"\s*data:([^,]{0,300}),", re.IGNORECASE)
_BLANK = re.compile(rb"[ \t\r\n\f\v]+")
_LEAST_BARE = 64
"""Shorter texts without a scheme are no picture's base64, and rather paths or words."""


def inline_bytes(text: str, where: str) -> bytes | None:
    """The bytes of a data URL or of bare base64; None where the text is neither.

    Args:
        text: As a client sent it.
        where: Field of the request.

    Raises:
        ApiError: It is one of them, and damaged.
    """
    if match := _DATA.match(text):
        return _from_data(match[1], text[match.end() :], where)
    if ":" not in text[:40] and len(text) >= _LEAST_BARE:
        return _from_base64(text.encode("utf-8", "replace"), where)
    return None


def _from_data(head: str, text: str, where: str) -> bytes:
    raw = unquote_to_bytes(text)
    # "image/jpg;charset=utf-8;base64": what stands before the last word is a label.
    if head.replace(" ", "").lower().endswith(";base64") or head.strip().lower() == "base64":
        return _from_base64(raw, where)
    return raw


def _from_base64(raw: bytes, where: str) -> bytes:
    packed = _BLANK.sub(b"", raw).rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _not_base64(where, str(error)) from None


def _not_base64(where: str, found: str) -> ApiError:
    return refusal(
        "The image is not base64.", where, code="invalid_image_url",
        expected="data:image/png;base64,... with the bytes of a picture file", found=found,
        fix="encode the file's bytes, nothing else",
    )  # fmt: skip
