"""Run the application under uvicorn: slow clients are cut off, requests under way end before the server."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from segue.apps.server.errors import dumps, refusal
from segue.apps.server.settings import Settings


class GuardedProtocol(H11Protocol):
    """uvicorn's protocol with a time limit for headers, which it has not, and errors in OpenAI's form."""

    settings = Settings()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._late: asyncio.TimerHandle | None = None
        if len(self.connections) > self.settings.connections:
            transport.abort()
            return
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        body = dumps(refusal(msg, None, code="invalid_http").body()).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self) -> None:
        """Set the clock while a request's head is awaited, or a body that nobody wants any more."""
        states = (self.conn.our_state, self.conn.their_state)
        begun = states == (h11.IDLE, h11.IDLE) and self.timeout_keep_alive_task is None
        unwanted = self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY
        if begun or unwanted:
            if self._late is None:
                self._late = self.loop.call_later(self.settings.body_timeout, self.transport.abort)
        else:
            self._unwatch()

    def _unwatch(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def server(app: ASGIApp, settings: Settings, host: str, port: int) -> uvicorn.Server:
    """A server that is ready to run.

    Args:
        app: From `create_app`.
        settings: Limits.
        host: Address to listen at.
        port: 0 for any that is free.
    """
    protocol = type("Protocol", (GuardedProtocol,), {"settings": settings})
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http=protocol,
            ws="none",
            log_level="info",
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=max(1, round(settings.grace)),
            h11_max_incomplete_event_size=64 * 1024,
        )
    )


def serve(app: ASGIApp, settings: Settings, host: str, port: int, listening: Any = None) -> None:
    """Serve until SIGTERM or Ctrl-C; requests under way are answered before it returns.

    Args:
        app, settings, host, port: See `server`.
        listening: Called with the port when the socket is bound.
    """
    found = socket.create_server((host, port), backlog=1024, family=_family(host))
    if listening is not None:
        listening(found.getsockname()[1])
    # uvicorn raises the signal once more when it has ended in peace; that must not look like a crash.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *ignored: None)
    with found:
        server(app, settings, host, port).run(sockets=[found])


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
