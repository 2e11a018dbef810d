"""A server of the taught tiny model in a thread, and what tests send to it."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tiny_model import picture

if TYPE_CHECKING:
    from segue.apps.server.settings import Settings
    from segue.inference.loaded_model import LoadedModel


def data_url(image: Image.Image, kind: str = "PNG") -> str:
    """A picture as clients send it."""
    return f"data:image/{kind.lower()};base64," + base64.b64encode(file_of(image, kind)).decode()


def file_of(image: Image.Image, kind: str = "PNG") -> bytes:
    """A picture as a file."""
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def form_of(*parts: tuple[str, str | bytes], filename: str = "a.png") -> tuple[bytes, dict[str, str]]:
    """Body and headers of a form; bytes are sent as files."""
    out = io.BytesIO()
    for name, value in parts:
        head = f'Content-Disposition: form-data; name="{name}"'
        if isinstance(value, bytes):
            head += f'; filename="{filename}"\r\nContent-Type: image/png'
        out.write(f"--edge\r\n{head}\r\n\r\n".encode())
        out.write(value if isinstance(value, bytes) else value.encode())
        out.write(b"\r\n")
    out.write(b"--edge--\r\n")
    return out.getvalue(), {"Content-Type": "multipart/form-data; boundary=edge"}


def shown(*pictures: Image.Image, text: str = "Which is larger?") -> dict[str, Any]:
    """A user message with pictures and a question."""
    parts = [{"type": "image_url", "image_url": {"url": data_url(image)}} for image in pictures]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def two() -> tuple[Image.Image, Image.Image]:
    """Two pictures, about which the tiny model says `tiny_model.ANSWER`."""
    return picture(shade=60), picture(shade=200)


def received(link: socket.socket) -> bytes:
    """An answer with a Content-Length, whole, from a connection that may stay open."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        seen += (piece := link.recv(1 << 16))
        assert piece, seen
    head, _, body = seen.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    while len(body) < length:
        body += (piece := link.recv(1 << 16))
        assert piece, body
    return head + b"\r\n\r\n" + body


@contextmanager
def serving_process(
    *options: str, repository: Path, log: Path, seconds: float
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`segue serve` as a process of its own, and its address; killed at the end.

    Args:
        options: Of the command; any free port is taken.
        repository: The checkout whose package runs.
        log: File for what it says.
        seconds: How long it may take to listen.
    """
    command = [sys.executable, "-m", "segue.cli", "serve", "--port", "0", *options]
    environment = os.environ | {"PYTHONPATH": str(repository / "src")}
    with log.open("w") as written:
        running = subprocess.Popen(command, stdout=written, stderr=written, text=True, env=environment)
        try:
            ends = time.monotonic() + seconds
            while not (found := re.search(r"http://127\.0\.0\.1:[0-9]+/v1", log.read_text())):
                assert running.poll() is None, log.read_text()
                assert time.monotonic() < ends, log.read_text()
                time.sleep(0.1)
            yield running, found[0]
        finally:
            running.kill()
            running.wait()


class Served:
    """A running server.

    Attributes:
        app: The application.
        port: Of 127.0.0.1.
    """

    def __init__(self, app: Any, settings: Settings) -> None:
        import uvicorn

        from segue.apps.server.run import server

        bound = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = bound.getsockname()[1]
        self._server: uvicorn.Server = server(app, settings, "127.0.0.1", 0)
        self.app = app
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [bound]}, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)

    @property
    def base(self) -> str:
        """Address for clients."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def engine(self) -> Any:
        """The engine, for what it counts."""
        return self.app.state.service.engine  # type: ignore[union-attr]

    def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers and content of an answer; JSON is read."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        try:
            link.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
            answer = link.getresponse()
            content = answer.read()
            found = {name.lower(): value for name, value in answer.getheaders()}
            is_json = found.get("content-type", "").startswith("application/json")
            return answer.status, found, json.loads(content) if is_json else content
        finally:
            link.close()

    def chat(self, *messages: dict[str, Any], **fields: Any) -> tuple[int, dict[str, str], Any]:
        """The same of a chat completion."""
        return self.send("POST", "/v1/chat/completions", {"messages": list(messages), **fields})

    def stop(self) -> None:
        """End it as SIGTERM does, and wait."""
        self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def serve(loaded_tiny_models: Callable[[str], LoadedModel]) -> Iterator[Callable[..., Served]]:
    """Starts servers with settings of their own."""
    from segue.apps.server.app import create_app
    from segue.apps.server.settings import Settings

    running: list[Served] = []

    def start(model: Any = None, **settings: Any) -> Served:
        chosen = Settings(**settings)
        running.append(Served(create_app(model or loaded_tiny_models("prima_mini"), chosen), chosen))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture(scope="session")
def served(loaded_tiny_models: Callable[[str], LoadedModel]) -> Iterator[Served]:
    """One server with the usual settings for all tests that change nothing about it."""
    from segue.apps.server.app import create_app
    from segue.apps.server.settings import Settings

    server = Served(create_app(loaded_tiny_models("prima_mini"), Settings()), Settings())
    yield server
    server.stop()
