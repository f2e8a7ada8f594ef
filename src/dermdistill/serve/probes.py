"""For those who run the service: whether it lives, whether it is ready, and its figures."""

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse

from dermdistill.serve.metrics import CONTENT_TYPE
from dermdistill.serve.openapi import problems
from dermdistill.serve.schemas import Health, Pointer
from dermdistill.serve.service import Shared, authorised

DOCUMENTATION = "https://github.com/dermdistill/dermdistill/blob/main/docs/how-to/service.md"

router = APIRouter()
pointer = APIRouter()


@router.get("/healthz", summary="Whether the service lives")
async def healthz() -> Health:
    """200 as long as the process answers."""
    return Health(status="ok")


@router.get(
    "/readyz",
    summary="Whether the service takes images",
    response_model=Health,
    responses={503: {"description": "Not now: it starts, stops, or its worker has ended.", "model": Health}},
)
async def readyz(service: Shared) -> JSONResponse:
    """200 once the model is loaded and has been tried, 503 before and while the service stops."""
    is_ready = service.status == "ready" and service.pipeline.is_ready
    status = "stopping" if service.status == "ready" and not is_ready else service.status
    return JSONResponse(Health(status=status).model_dump(), 200 if is_ready else 503)


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    dependencies=[Depends(authorised)],
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems(401)},
)
async def metrics(service: Shared) -> Response:
    """Requests, seconds, images, batches and refusals, in Prometheus' text format."""
    return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


@pointer.get("/", summary="Where to go", include_in_schema=False)
async def root() -> Pointer:
    """Addresses of the interface, where no page is served."""
    return Pointer(documentation=DOCUMENTATION)
