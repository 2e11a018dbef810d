"""One HTTP request and what came of it, with nothing but the standard library.

Three things that the usual one-liner gets wrong are taken care of: a server that sends a byte now and then
meets a deadline for the whole exchange, a reply has a largest size, and a redirect is an answer rather than
an order, because following it would carry the account's key to another host.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

MAX_REPLY_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Response:
    """Answer of a server.

    Args:
        status: HTTP status.
        headers: Names in lower case.
        body: At most `MAX_REPLY_BYTES`.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    def text(self) -> str:
        """The body as text, undecodable bytes replaced."""
        return self.body.decode("utf-8", errors="replace")


class NoAnswer(Exception):
    """Nothing usable came back. Never shown to users: the client words it, or tries again.

    Args:
        reason: In words.
        nobody_there: The host is unknown, or nothing listens at its port.
    """

    def __init__(self, reason: str, *, nobody_there: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.nobody_there = nobody_there


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Hands a redirect to the caller as the answer that it is."""

    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        return None


def exchange(
    url: str,
    headers: Mapping[str, str],
    content: Any,
    timeout: float,
    clock: Any,
) -> Response:
    """Send a request and read the whole answer.

    Proxies of the environment are used, except for this machine itself.

    Args:
        url: Absolute.
        headers: With the key, if any.
        content: Sent as JSON with POST; None asks with GET.
        timeout: Seconds for everything together.
        clock: Monotonic seconds.

    Raises:
        NoAnswer: Not reached, cut off, too slow or too large.
    """
    deadline = clock() + timeout
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, data=data, headers=dict(headers))
    local = urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
    opener = urllib.request.build_opener(_StayHere, *([urllib.request.ProxyHandler({})] if local else []))
    try:
        try:
            answer = opener.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            # A status of 300 and above; it reads like any other answer.
            answer = error
        with answer:
            body = _unpacked(_read(answer, deadline, clock))
            return Response(int(answer.status or 0), {k.lower(): v for k, v in answer.headers.items()}, body)
    except TimeoutError:
        raise NoAnswer(f"no complete answer within {timeout:g} seconds") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise NoAnswer(f"no connection within {timeout:g} seconds") from None
        nobody = isinstance(error.reason, ConnectionRefusedError | socket.gaierror)
        raise NoAnswer(f"no connection: {error.reason}", nobody_there=nobody) from None
    # ValueError: an address that only the sockets find fault with.
    except (http.client.HTTPException, ssl.SSLError, OSError, ValueError) as error:
        raise NoAnswer(f"the connection broke: {type(error).__name__}: {error}") from None


def _unpacked(body: bytes) -> bytes:
    """The body without gzip or zlib around it, which some servers and proxies send though nobody asked."""
    for _ in range(2):
        # What a body begins with is surer than what its header says.
        if not body.startswith((b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")):
            break
        reader = zlib.decompressobj(wbits=47)  # 32 + 15: gzip or zlib, whichever the head says
        try:
            unpacked = reader.decompress(body, MAX_REPLY_BYTES)
        except zlib.error as error:
            raise NoAnswer(f"the answer's compression is damaged: {error}") from None
        if reader.unconsumed_tail:
            raise NoAnswer(f"the answer is larger than {MAX_REPLY_BYTES // 2**20} MiB")
        if not reader.eof:
            raise NoAnswer("the answer was cut off: its compression has no end")
        body = unpacked
    return body


def _read(answer: Any, deadline: float, clock: Any) -> bytes:
    """The body, piece by piece, so that neither time nor memory can run away."""
    pieces: list[bytes] = []
    size = 0
    while piece := answer.read1(65536):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_REPLY_BYTES:
            raise NoAnswer(f"the answer is larger than {MAX_REPLY_BYTES // 2**20} MiB")
        if clock() > deadline:
            raise TimeoutError
    declared = answer.headers.get("Content-Length", "")
    if declared.isdigit() and size < int(declared):
        raise NoAnswer(f"the answer was cut off after {size} of {declared} bytes")
    return b"".join(pieces)
