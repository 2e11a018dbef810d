"""The page on a web server: routes for pictures and downloads, headers, and uvicorn."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

# Before Gradio is imported, which reads it once: nothing is reported to anybody.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from segue.apps.demo.downloads import archive_of
from segue.apps.demo.page import Page, People
from segue.apps.demo.visitor import Models

if TYPE_CHECKING:
    from segue.inference.loaded_model import LoadedModel

MOST_UPLOAD = "25mb"
"""Of one file."""
_SYSTEM = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
# Gradio's own scripts are inline and evaluated; what matters is that nothing comes from, or goes, elsewhere.
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'; form-action 'self'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def create_app(models: Mapping[str, LoadedModel]) -> FastAPI:
    """The application.

    Args:
        models: Name -> model; visitors may choose among these and no others.
    """
    people = People()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.get("/picture/{key}")
    def picture(key: str) -> Response:
        found = people.pictures.get(key)
        if found is None:
            return Response("no such picture", 404)
        return Response(
            found.shown, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"}
        )

    @app.get("/download/{key}")
    async def download(key: str) -> Response:
        visitor = people.visitors.get(key)
        if visitor is None or not visitor.answers:
            return Response("no such conversation", 404)
        content = await run_in_threadpool(archive_of, visitor.answers)
        attached = {"Content-Disposition": 'attachment; filename="segue.zip"', "Cache-Control": "no-store"}
        return Response(content, media_type="application/zip", headers=attached)

    page = Page(Models(models), people)
    script, style = (
        resources.files("segue.apps.demo").joinpath(name).read_text(encoding="utf-8")
        for name in ("page.js", "page.css")
    )
    gr.mount_gradio_app(
        app,
        page.blocks,
        path="/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        max_file_size=MOST_UPLOAD,
        # What is no mistake of the visitor's stands in the log, not on the page.
        show_error=False,
        # The system's fonts: Gradio's default theme asks for some from elsewhere.
        theme=gr.themes.Base(font=_SYSTEM, font_mono=("ui-monospace", "monospace")),
        css=style,
        head=f"<script>{script}</script>",
    )
    return app


def serve(models: Mapping[str, LoadedModel], host: str, port: int, listening: Any = None) -> None:
    """Serve the page until Ctrl-C.

    Args:
        models: See `create_app`.
        host: Address to listen at.
        port: 0 for any that is free.
        listening: Called with the port when the socket is bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.create_server((host, port), backlog=256, family=family)
    if listening is not None:
        listening(bound.getsockname()[1])
    with bound:
        config = uvicorn.Config(create_app(models), log_level="warning", server_header=False)
        uvicorn.Server(config).run(sockets=[bound])
