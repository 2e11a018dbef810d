"""The application: routes, errors, and the middleware around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response

import segue
from segue.apps.server import schema
from segue.apps.server.access import Gate
from segue.apps.server.chat import complete
from segue.apps.server.engine import AnyEngine
from segue.apps.server.errors import ApiError, from_exception, json_response, refusal
from segue.apps.server.matches import find_matches
from segue.apps.server.metrics import CONTENT_TYPE
from segue.apps.server.segmentations import segment
from segue.apps.server.service import Named, Service
from segue.apps.server.settings import Settings
from segue.records.conversation import MAX_IMAGES

if TYPE_CHECKING:
    from segue.inference.loaded_model import LoadedModel

_OWN_MACHINE = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?"


def create_app(
    model: LoadedModel | Named, settings: Settings | None = None, engine: AnyEngine | None = None
) -> FastAPI:
    """Build the application that serves a model.

    Args:
        model: From `segue.load`; only its name where an engine is given.
        settings: Limits; `Settings()` by default.
        engine: Who asks the model; a thread of this process by default.

    Returns:
        An ASGI application; its lifespan stops the engine.
    """
    chosen = settings or Settings()
    service = Service(model, chosen, engine)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.engine.stop()

    everywhere = "*" in chosen.cors_origins
    app = FastAPI(
        title="Segue",
        version=segue.__version__,
        description="Grounded conversations over several images: OpenAI's chat completions with masks.",
        lifespan=lifespan,
        redirect_slashes=False,
        redoc_url=None,
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=["*"] if everywhere else list(chosen.cors_origins),
                allow_origin_regex=None if everywhere else _OWN_MACHINE,
                allow_methods=["GET", "POST", "OPTIONS"],
                # Whatever is asked for: the next version of a client sends a header more.
                allow_headers=["*"],
                expose_headers=["Retry-After"],
            ),
            Middleware(Gate, settings=chosen, metrics=service.metrics),
        ],
    )
    app.state.service = service
    _add_routes(app, service)
    add_errors(app)
    app.openapi = lambda: _description(app)  # type: ignore[method-assign]
    return app


def _add_routes(app: FastAPI, service: Service) -> None:
    form = "multipart/form-data"

    @app.post("/v1/chat/completions", openapi_extra=schema.described(schema.ChatAnswer, schema.ChatRequest))
    async def chat_completions(request: Request) -> Response:
        """Answer a conversation over one to nine images, whole or streamed."""
        return await complete(service, request)

    @app.post(
        "/v1/images/segmentations",
        openapi_extra=schema.described(schema.SegmentationAnswer, schema.SegmentationRequest, form),
    )
    async def segmentations(request: Request) -> Response:
        """Masks of what a prompt names, in one to nine pictures."""
        return await segment(service, request)

    @app.post(
        "/v1/images/matches", openapi_extra=schema.described(schema.MatchResult, schema.MatchRequest, form)
    )
    async def matches(request: Request) -> Response:
        """What is marked in one picture, found in the others by its looks; no words, any model."""
        return await find_matches(service, request)

    @app.get("/v1/models", openapi_extra=schema.described(None))
    async def models() -> Response:
        """The model that is served."""
        return json_response({"object": "list", "data": [_model_entry(service.model)]})

    @app.get("/v1/models/{name:path}", openapi_extra=schema.described(None))
    async def model(name: str) -> Response:
        """One model."""
        service.check_model(name)
        return json_response(_model_entry(service.model))

    @app.get("/healthz", openapi_extra=schema.described(None))
    async def healthz() -> Response:
        """Whether questions can be answered."""
        alive = service.engine.alive
        return json_response({"status": "ok" if alive else "failed"}, 200 if alive else 503)

    @app.get("/metrics", openapi_extra=schema.described(None))
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


def _model_entry(model: LoadedModel | Named) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": "segue",
        "segue": {"version": segue.__version__, "max_images": MAX_IMAGES},
    }


def add_errors(app: FastAPI) -> None:
    """Let an application answer every error in OpenAI's form, with ours inside."""

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        names = ", ".join(sorted({getattr(route, "path", "") for route in app.routes} - {""}))
        found = f"{request.method} {request.url.path}"[:200]
        return refusal(
            "There is nothing at this address." if error.status_code == 404 else str(error.detail),
            None, status=error.status_code, code="unknown_url" if error.status_code == 404 else None,
            expected=names, found=found, fix="check the base address (it ends in /v1) and the method",
            headers=dict(error.headers or {}),
        ).response()  # fmt: skip

    @app.exception_handler(ClientDisconnect)
    async def left(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)

    async def told(request: Request, error: Exception) -> Response:
        return from_exception(error).response()

    for kind in (ApiError, segue.SegueError, Exception):
        app.exception_handler(kind)(told)


def _description(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        found = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        found.setdefault("components", {}).setdefault("schemas", {}).update(schema.component_schemas())
        app.openapi_schema = found
    return app.openapi_schema
