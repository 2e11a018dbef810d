"""Label Studio's protocol for machine learning backends over HTTP.

Source: the routes and fields of label-studio-ml (`label_studio_ml/api.py`), of which package
indexes have only an old version; what Label Studio itself sends and reads.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from starlette.middleware import Middleware
from starlette.responses import Response

import segue
from segue.apps.label_studio.corrections import Corrections
from segue.apps.label_studio.label_config import read_config
from segue.apps.label_studio.pictures import LabelStudio, TaskPictures
from segue.apps.label_studio.predict import Asking, Predictor
from segue.apps.server.access import Gate
from segue.apps.server.app import add_errors
from segue.apps.server.bodies import read_json
from segue.apps.server.errors import ApiError, from_exception, json_response, refusal
from segue.apps.server.metrics import CONTENT_TYPE
from segue.apps.server.service import Service, unless_left
from segue.apps.server.settings import Settings

if TYPE_CHECKING:
    from segue.inference.loaded_model import LoadedModel

_log = logging.getLogger(__name__)
_LEFT = 499


def create_backend(
    model: LoadedModel,
    settings: Settings | None = None,
    label_studio: LabelStudio | None = None,
    asking: Asking | None = None,
    corrections: Path | None = None,
) -> FastAPI:
    """Build the application that Label Studio connects to as a model.

    Args:
        model: From `segue.load`.
        settings: Limits; `Settings()` by default.
        label_studio: Where relative addresses of pictures lead.
        asking: What tasks are asked.
        corrections: Folder to which annotations are written as they are submitted; none are by default.
    """
    chosen = settings or Settings()
    service = Service(model, chosen)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.engine.stop()

    app = FastAPI(
        title="Segue for Label Studio",
        version=segue.__version__,
        lifespan=lifespan,
        redirect_slashes=False,
        redoc_url=None,
        middleware=[Middleware(Gate, settings=chosen, metrics=service.metrics)],
    )
    app.state.service = service
    predictor = Predictor(service, TaskPictures(label_studio or LabelStudio(), chosen), asking or Asking())
    _add_routes(app, service, predictor, asking or Asking(), Corrections(corrections), model_version(model))
    add_errors(app)
    return app


def model_version(model: LoadedModel) -> str:
    """Name of the model and of its weights: Label Studio asks again when it changes."""
    if model.path is None:
        return model.name
    files = sorted(path for path in Path(model.path).iterdir() if path.is_file())
    seen = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return f"{model.name}@{hashlib.sha256(repr(seen).encode()).hexdigest()[:8]}"


def _add_routes(
    app: FastAPI,
    service: Service,
    predictor: Predictor,
    asking: Asking,
    corrections: Corrections,
    version: str,
) -> None:
    @app.get("/")
    @app.get("/health")
    async def health() -> Response:
        """Whether tasks can be predicted."""
        alive = service.engine.alive
        status = {"status": "UP" if alive else "DOWN", "model_class": "Segue", "model_version": version}
        return json_response(status, 200 if alive else 503)

    @app.get("/versions")
    async def versions() -> Response:
        """The one version that is served."""
        return json_response({"versions": [version]})

    @app.get("/metrics")
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    @app.post("/setup")
    async def setup(request: Request) -> Response:
        """Check a project's configuration; Label Studio calls it when the model is connected."""
        body = read_json(await service.bodies.read(request))
        # `hostname` and `access_token` are not used: whoever reaches this port could lead us anywhere.
        read_config(body.get("schema"), asking.shape)
        return json_response({"model_version": version})

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        """Predict tasks; each gets an entry of `results`, in their order."""
        body = read_json(await service.bodies.read(request))

        async def work() -> Response:
            with service.engine.place():
                return json_response(await _predictions(predictor, body, asking, version))

        return await unless_left(request, work) or Response(status_code=_LEFT)

    @app.post("/webhook")
    async def webhook(request: Request) -> Response:
        """Keep annotations as they are submitted, where a folder for them was given."""
        body = read_json(await service.bodies.read(request))
        done = await asyncio.to_thread(corrections.take, body)
        if done is None:
            return json_response({"status": "Unknown event"})
        return json_response({"status": "ok", "result": done}, 201)


async def _predictions(
    predictor: Predictor, body: dict[str, Any], asking: Asking, version: str
) -> dict[str, Any]:
    tasks, params = body.get("tasks"), body.get("params")
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise refusal(
            "`tasks` is no list of tasks.", "tasks", code="invalid_type",
            expected='[{"id": ..., "data": {...}}, ...]', found=repr(tasks)[:200],
            fix="send tasks as Label Studio does",
        )  # fmt: skip
    config = read_config(body.get("label_config"), asking.shape)
    context = params.get("context") if isinstance(params, dict) else None
    results: list[Any] = []
    errors: list[ApiError] = []
    for number, task in enumerate(tasks):
        try:
            results.append(await predictor.predict(task, f"tasks.{number}", config, context, version))
        except* Exception as group:
            error = from_exception(_first(group))
            errors.append(error)
            _log.warning("task %s is not predicted: %s", task.get("id"), error.error)
            # No prediction for this task; the others keep theirs.
            results.append([])
    if errors and len(errors) == len(tasks):
        raise errors[0]
    told = [error.body()["error"] for error in errors]
    return {"results": results, "model_version": version, **({"errors": told} if told else {})}


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
