"""The app: one model, and the addresses under which it answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
import numpy as np
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from dermdistill.classes import DISCLAIMER
from dermdistill.predict.predictor import Predictor
from dermdistill.predict.runtime import as_batch
from dermdistill.serve import errors, openapi, probes, v1
from dermdistill.serve.batching import Pipeline
from dermdistill.serve.facts import model_name
from dermdistill.serve.keys import read_keys
from dermdistill.serve.limits import Admission
from dermdistill.serve.metrics import Metrics
from dermdistill.serve.middleware import REQUEST_ID, Observed
from dermdistill.serve.service import Service
from dermdistill.serve.settings import Settings
from dermdistill.serve.static import Page
from dermdistill.version import __version__


def create_app(predictor: Predictor, settings: Settings, page: Page | None = None) -> FastAPI:
    """The service of a model as an ASGI app, whose lifespan starts and ends its threads.

    Args:
        predictor: the model, with the threshold that holds where a request names none.
        settings: limits, keys and origins.
        page: what stands under `/`; without one, the addresses of the interface.

    Raises:
        InputError: the file of keys does not fit.
    """
    service = _service(predictor, settings)
    app = FastAPI(
        title="dermdistill",
        version=__version__,
        description=f"{DISCLAIMER} Probabilities of melanoma and other lesions in dermoscopic images.",
        lifespan=_lifespan,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        middleware=_middleware(service),
    )
    app.state.service = service
    errors.install(app)
    openapi.install(app)
    app.include_router(v1.router)
    app.include_router(probes.router)
    if page is not None:
        app.mount("/", page, name="page")
    else:
        app.include_router(probes.pointer)
    return app


def _service(predictor: Predictor, settings: Settings) -> Service:
    keys = read_keys(settings.keys) if settings.keys else None
    metrics = Metrics(model_name(predictor.bundle), lambda: pipeline.images)
    pipeline = Pipeline(predictor, settings, metrics.batches.observe)
    return Service(predictor, settings, keys, Admission(settings.limits), pipeline, metrics)


def _middleware(service: Service) -> list[Middleware]:
    around = [Middleware(Observed, metrics=service.metrics)]
    if service.settings.cors:
        around.append(
            Middleware(
                CORSMiddleware,
                allow_origins=service.settings.cors,
                allow_methods=["GET", "POST"],
                allow_headers=["Authorization", "Content-Type", REQUEST_ID],
                expose_headers=[REQUEST_ID, "Retry-After"],
            )
        )
    return around


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Try the model and its gate once, so that broken ones never get ready; in the end, judge what waits."""
    service: Service = app.state.service
    await anyio.to_thread.run_sync(_try_out, service.predictor)
    service.pipeline.start()
    service.status = "ready"
    try:
        yield
    finally:
        service.status = "stopping"
        await anyio.to_thread.run_sync(service.pipeline.close)


def _try_out(predictor: Predictor) -> None:
    size = predictor.bundle.spec.input.size
    black = np.zeros((1, size, size, 3), np.uint8)
    predictor.probabilities(black)
    if predictor.gate is not None:
        predictor.gate.judge(as_batch(black))
