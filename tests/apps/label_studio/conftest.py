"""A backend of the tiny model, a project over its two pictures, and a stand-in for Label Studio's files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from serving import Served, data_url, file_of, two

CONFIG = """<View>
  <Image name="img" valueList="$images"/>
  <BrushLabels name="brush" toName="img"><Label value="mug"/><Label value="lamp"/></BrushLabels>
  <PolygonLabels name="poly" toName="img"><Label value="mug"/><Label value="lamp"/></PolygonLabels>
  <TextArea name="prompt" toName="img"/>
</View>"""


@pytest.fixture(scope="session")
def config() -> str:
    return CONFIG


@pytest.fixture
def task() -> dict[str, Any]:
    """A task with both pictures inside, and a prompt."""
    images = [data_url(picture) for picture in two()]
    return {"id": 7, "data": {"images": images, "prompt": "Which is larger?"}}


@pytest.fixture
def backend(loaded_tiny_models: Callable[[str], Any]) -> Iterator[Callable[..., Served]]:
    """Starts backends with options of their own; keywords are those of `create_backend`, or settings."""
    from segue.apps.label_studio.app import create_backend
    from segue.apps.server.settings import Settings

    running: list[Served] = []

    def start(settings: dict[str, Any] | None = None, model: Any = None, **options: Any) -> Served:
        chosen = Settings(**(settings or {}))
        app = create_backend(model or loaded_tiny_models("prima_mini"), chosen, **options)
        running.append(Served(app, chosen))
        return running[-1]

    yield start
    for server in running:
        server.stop()


class StudioFiles(BaseHTTPRequestHandler):
    """Serves two pictures to whoever has the token, and renews personal access tokens."""

    def do_GET(self) -> None:
        allowed = self.headers.get("Authorization") in ("Token legacy", "Bearer access-1")
        names = {"/data/upload/1/0.png": 0, "/data/upload/1/1.png": 1}
        status = 200 if allowed and self.path in names else 401 if not allowed else 404
        self._answer(status, file_of(two()[names[self.path]]) if status == 200 else b"")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        right = self.path == "/api/token/refresh" and body == {"refresh": self.server.refresh}  # type: ignore[attr-defined]
        self._answer(200 if right else 401, json.dumps({"access": "access-1"}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.server.seen.append((self.command, self.path, status))  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def studio() -> Iterator[Any]:
    """A server of files; `url`, and `seen`: method, path and status of every request."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), StudioFiles)
    server.seen, server.refresh = [], ""
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
