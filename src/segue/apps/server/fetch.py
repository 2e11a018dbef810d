"""Pictures from allowed hosts: no redirects, no internal addresses, so many bytes in so many seconds."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from segue.apps.server.errors import ApiError, refusal
from segue.apps.server.settings import Settings

_PORTS = {"http": 80, "https": 443}


def fetch(address: str, settings: Settings, where: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Get the bytes behind an address.

    The name is looked up once and the connection goes to the address that was checked, so that a name which
    answers differently the second time gains nothing.

    Args:
        address: http or https.
        settings: `allowed_hosts`, `internal_hosts`, `most_image`, `fetch_timeout`.
        where: Field of the request.
        headers: Further ones of the request.

    Raises:
        ApiError: The host is not allowed, or did not give a picture's bytes.
    """
    ends = time.monotonic() + settings.fetch_timeout
    parts, host, port = _checked(address, settings, where)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        number = _looked_up(host, port, settings, where)
        connection = _Connection(host, port, number, settings.fetch_timeout, parts.scheme == "https")
        try:
            # `http.client` puts the target into the request as it is.
            usual = {"Accept": "image/*", "User-Agent": "segue"}
            connection.request("GET", target, headers={**usual, **(headers or {})})
            return _body(connection.getresponse(), connection, ends, settings, where)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _failed(where, f"{type(error).__name__}: {error}"[:200]) from None


def _checked(address: str, settings: Settings, where: str) -> tuple[SplitResult, str, int]:
    try:
        parts = urlsplit(address)
        host, port = (parts.hostname or "").rstrip(".").lower(), parts.port
    except ValueError as error:
        raise _failed(where, str(error)) from None
    if parts.scheme not in _PORTS:
        raise refusal(
            "Images cannot be read from such an address.", where, code="invalid_image_url",
            expected="a data URL, or http(s) of an allowed host", found=f"scheme {parts.scheme!r:.40}",
            fix="send the image itself: data:image/png;base64,...",
        )  # fmt: skip
    port = _PORTS[parts.scheme] if port is None else port
    allowed = {name.lower() for name in settings.allowed_hosts}
    usual = port == _PORTS[parts.scheme]
    named = f"{host}:{port}" in allowed or (usual and host in allowed)
    if not host or not named or "@" in parts.netloc:
        raise refusal(
            "Images of this host are not fetched.", where, code="host_not_allowed",
            expected=", ".join(sorted(allowed)) or "no host is allowed by this server",
            found=f"{host}:{port}"[:200],
            fix="send the image itself (data:image/png;base64,...), or start the server with --allow-host",
        )  # fmt: skip
    return parts, host, port


def _looked_up(host: str, port: int, settings: Settings, where: str) -> str:
    """The host's address; all that the name stands for have to be public ones."""
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    internal = [number for number in found if not is_public(number)]
    if not found or (internal and not settings.internal_hosts):
        raise refusal(
            "The image's host is an internal address.", where, code="host_not_allowed",
            expected="a public address", found=host[:200],
            fix="send the image itself: data:image/png;base64,...",
        )  # fmt: skip
    return found[0]


def is_public(number: str) -> bool:
    """Whether an address lies in the public internet; an IPv4 address within an IPv6 one counts as itself."""
    address = ipaddress.ip_address(number.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            address = inner
    return address.is_global and not address.is_multicast


class _Connection(http.client.HTTPConnection):
    """Connection to an address that was looked up before; the certificate is that of the name."""

    def __init__(self, host: str, port: int, number: str, timeout: float, secure: bool) -> None:
        super().__init__(host, port, timeout=timeout)
        self._number, self._secure = number, secure

    def connect(self) -> None:
        self.sock = socket.create_connection((self._number, self.port), self.timeout)
        if self._secure:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


def _body(
    answer: http.client.HTTPResponse,
    connection: http.client.HTTPConnection,
    ends: float,
    settings: Settings,
    where: str,
) -> bytes:
    if answer.status != 200:
        what = "a redirect, which is not followed" if 300 <= answer.status < 400 else "no picture"
        raise _failed(where, f"status {answer.status}: {what}")
    pieces, size = list[bytes](), 0
    while True:
        left = ends - time.monotonic()
        if left <= 0:
            raise _failed(where, f"not all of it within {settings.fetch_timeout:g} seconds")
        if connection.sock is not None:
            connection.sock.settimeout(left)
        # `read1` returns with what is there; `read` would wait for a whole piece.
        piece = answer.read1(1 << 16)
        if not piece:
            return b"".join(pieces)
        size += len(piece)
        if size > settings.most_image:
            raise _failed(where, f"more than {settings.most_image:,} bytes")
        pieces.append(piece)


def _failed(where: str, found: str) -> ApiError:
    return refusal(
        "The image could not be fetched.", where, code="image_not_fetched",
        expected="status 200 and the bytes of a picture", found=found,
        fix="send the image itself: data:image/png;base64,...",
    )  # fmt: skip
