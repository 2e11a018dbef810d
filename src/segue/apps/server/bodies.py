"""Bodies of requests: so many bytes, in so much time, unpacked where they are packed."""

from __future__ import annotations

import asyncio
import json
import zlib
from typing import Any

from starlette.requests import ClientDisconnect, Request

from segue.apps.server.errors import ApiError, refusal
from segue.apps.server.settings import Settings

_DRAINED = 4
"""So many times the limit is read and thrown away, so that a client gets to read why."""


class Bodies:
    """Reads bodies; all that are being received at a time share one budget of bytes.

    Args:
        settings: `most_body`, `most_bodies` and `body_timeout`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held = 0

    async def read(self, request: Request) -> bytes:
        """The whole body, unpacked.

        Raises:
            ApiError: 408 too slow, 413 too large, 415 packed in an unknown way, 429 too many at a time.
            ClientDisconnect: The client left.
        """
        try:
            async with asyncio.timeout(self._settings.body_timeout):
                packed = await self._receive(request)
        except TimeoutError:
            raise refusal(
                "The request's body came too slowly.", None, status=408, code="timeout",
                expected=f"all of it within {self._settings.body_timeout:g} seconds",
                fix="send smaller pictures, or over a faster line", headers={"Connection": "close"},
            ) from None  # fmt: skip
        return await asyncio.to_thread(self._unpacked, packed, request.headers.get("content-encoding", ""))

    async def _receive(self, request: Request) -> bytes:
        most, announced = self._settings.most_body, request.headers.get("content-length", "")
        if announced.isdecimal() and len(announced) < 20 and int(announced) > most:
            if "expect" not in request.headers:
                await self._drain(request, 0)
            raise self._too_large(f"{int(announced):,} bytes")
        pieces, size = list[bytes](), 0
        try:
            async for piece in request.stream():
                size += len(piece)
                self._held += len(piece)
                if size > most:
                    pieces.clear()
                    await self._drain(request, size)
                    raise self._too_large(f"more than {most:,} bytes")
                if self._held > self._settings.most_bodies:
                    raise refusal(
                        "Too many bytes are being sent at a time.", None, status=429,
                        code="server_busy", fix="wait, then send it again", headers={"Retry-After": "5"},
                    )  # fmt: skip
                pieces.append(piece)
            return b"".join(pieces)
        finally:
            self._held -= size

    async def _drain(self, request: Request, size: int) -> None:
        """Throw away what is still being sent: most clients read no answer before they have sent all."""
        try:
            async for piece in request.stream():
                size += len(piece)
                if size > _DRAINED * self._settings.most_body:
                    return
        except (ClientDisconnect, RuntimeError):
            # RuntimeError: the stream has ended.
            return

    def _too_large(self, found: str) -> ApiError:
        return refusal(
            "The request is too large.", None, status=413, code="request_too_large",
            expected=f"at most {self._settings.most_body:,} bytes", found=found,
            fix="send smaller pictures; models look at far fewer pixels anyway",
        )  # fmt: skip

    def _unpacked(self, packed: bytes, encoding: str) -> bytes:
        names = [
            name for name in encoding.lower().replace(" ", "").split(",") if name not in ("", "identity")
        ]
        if not names:
            return packed
        if len(names) > 1 or names[0] not in ("gzip", "x-gzip", "deflate"):
            raise refusal(
                "The body is packed in a way that is not known here.", "Content-Encoding", status=415,
                code="unsupported_encoding", expected="gzip, deflate, or no Content-Encoding", found=encoding,
                fix="send the body as it is",
            )  # fmt: skip
        # 32: tells gzip and zlib by their heads.
        unpacker = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)
        try:
            body = unpacker.decompress(packed, self._settings.most_body + 1)
        except zlib.error as error:
            raise refusal(
                "The body cannot be unpacked.", "Content-Encoding", code="invalid_encoding",
                expected=names[0], found=str(error), fix="send the body as it is",
            ) from None  # fmt: skip
        if len(body) > self._settings.most_body:
            raise self._too_large(f"more than {self._settings.most_body:,} bytes, unpacked")
        if not unpacker.eof:
            raise refusal(
                "The packed body is cut off.", "Content-Encoding", code="invalid_encoding",
                expected=f"a whole {names[0]} stream", fix="send the body as it is",
            )  # fmt: skip
        return body


def read_json(body: bytes) -> dict[str, Any]:
    """The object that a body holds, in UTF-8 (with or without a mark), UTF-16 or UTF-32.

    Raises:
        ApiError: It is no JSON, or no object; NaN and Infinity are none either.
    """
    try:
        # Python's reader finds the encoding, and takes NaN, which JSON has not.
        value = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        found = "an empty body" if not body else f"{type(error).__name__}: {error}"[:200]
        raise refusal(
            "The body is not JSON.", None, code="invalid_json", expected="a JSON object", found=found,
            fix="send Content-Type: application/json and a body that a JSON parser reads",
        ) from None  # fmt: skip
    if not isinstance(value, dict):
        raise refusal(
            "The body is JSON, but no object.", None, code="invalid_json", expected='{"model": ..., ...}',
            found=type(value).__name__, fix="send the fields of a chat completion",
        )  # fmt: skip
    return value


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
