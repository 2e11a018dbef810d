"""A local server that speaks OpenAI's chat completions by script, well or badly.

`chat_server` serves every test that needs an endpoint: each POST takes the next step of the script; when the
script is over the server answers 500, so that a test notices a request too many.
"""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from PIL import Image


@dataclass(frozen=True)
class Step:
    """One answer of the server.

    Args:
        body: Sent as JSON; bytes are sent as they are.
        status: HTTP status.
        headers: Further headers.
        delay: Seconds before the answer; the test's timeout must be shorter for this to matter.
        promise: Content-Length that is promised beyond what is sent.
        drop: Close the connection without a word.
    """

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    promise: int = 0
    drop: bool = False


def says(text: Any, *, finish: str = "stop", **message: Any) -> Step:
    """A completion with this text; anything but a string is written as JSON."""
    content = text if isinstance(text, str) or text is None else json.dumps(text)
    choice = {"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "details": {"cached": 1}}
    return Step({"model": "scripted-1", "choices": [choice], "usage": usage})


def fails(status: int, message: str = "no", **headers: str) -> Step:
    """An error as OpenAI words it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Step({"error": {"message": message, "type": "t", "code": None}}, status, named)


class ChatServer:
    """The server, its script and what it was asked."""

    def __init__(self) -> None:
        self.script: list[Step] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.models = ["scripted"]
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                server.requests.append(json.loads(content))
                server.headers.append({k.lower(): v for k, v in self.headers.items()})
                self._send(server.script.pop(0) if server.script else Step(b"the script is over", 500))

            def do_GET(self) -> None:
                self._send(Step({"data": [{"id": name} for name in server.models]}))

            def _send(self, step: Step) -> None:
                if step.drop:
                    self.connection.close()
                    return
                if step.delay:
                    time.sleep(step.delay)
                body = step.body if isinstance(step.body, bytes) else json.dumps(step.body).encode()
                try:
                    self.send_response(step.status)
                    for name, value in step.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body) + step.promise))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # the client has left, as a test with a timeout means it to
                if step.promise:
                    self.close_connection = True

            def log_message(self, *arguments: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Base address."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def address(self, **options: Any) -> str:
        """An agent's address for this server; boxes as masks, no second attempts, unless asked for."""
        chosen = {"model": "scripted", "sam": "none", "retries": 0, "timeout": 20} | options
        return f"agent:{self.url}?" + "&".join(f"{name}={value}" for name, value in chosen.items())

    def texts(self, request: int = -1) -> list[str]:
        """All texts of a request, in order."""
        return [part for part in self._parts(request) if isinstance(part, str)]

    def images(self, request: int = -1) -> list[Image.Image]:
        """All images of a request, decoded."""
        return [part for part in self._parts(request) if isinstance(part, Image.Image)]

    def _parts(self, request: int) -> list[str | Image.Image]:
        parts: list[str | Image.Image] = []
        for message in self.requests[request]["messages"]:
            content = message["content"]
            for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
                if part["type"] == "text":
                    parts.append(part["text"])
                else:
                    head, _, coded = part["image_url"]["url"].partition(",")
                    assert head == "data:image/jpeg;base64"
                    parts.append(Image.open(io.BytesIO(base64.b64decode(coded))))
        return parts

    def close(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def chat_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    """A server of its own for each test; no key of the machine's account reaches it."""
    for name in ("SEGUE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    server = ChatServer()
    yield server
    server.close()
