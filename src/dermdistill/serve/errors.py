"""Refusals as problem details (RFC 9457): what came, what was expected, and how to mend it."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from dermdistill.serve.schemas import ImageAnswer, Problem

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1
"""After so long a client that met a full service may try again."""


class Refused(Exception):
    """A request that gets no prediction; the client is told why.

    Args:
        status: the HTTP status.
        code: a short word for programs, such as 'too-large'.
        came: what came.
        expected: what was expected.
        remedy: how to mend it.
        images: the entry of each image, if the images are what is wrong.
    """

    def __init__(
        self, status: int, code: str, *, came: str, expected: str, remedy: str, images: list[ImageAnswer] | None = None
    ):
        super().__init__(code)
        self.code = code
        self.problem = Problem(
            type=f"urn:dermdistill:{code}",
            title=HTTPStatus(status).phrase,
            status=status,
            detail=came,
            expected=expected,
            remedy=remedy,
            **({"images": images} if images is not None else {}),
        )

    @property
    def headers(self) -> dict[str, str]:
        """The headers that go with the status."""
        match self.problem.status:
            case 401:
                return {"WWW-Authenticate": "Bearer"}
            case 408:
                return {"Connection": "close"}
            case 503:
                return {"Retry-After": str(RETRY_SECONDS)}
            case _:
                return {}


def overloaded(came: str) -> Refused:
    """The refusal of a service that has enough to do."""
    return Refused(
        503,
        "overloaded",
        came=came,
        expected="fewer requests at once",
        remedy=f"try again after {RETRY_SECONDS} s, and wait longer each time",
    )


def response(refused: Refused, headers: dict[str, str] | None = None) -> JSONResponse:
    """The response of a refusal."""
    content: dict[str, Any] = refused.problem.model_dump(mode="json", exclude_unset=True)
    return JSONResponse(
        content, refused.problem.status, headers={**refused.headers, **(headers or {})}, media_type=MEDIA_TYPE
    )


def internal() -> JSONResponse:
    """The response of an error that is nobody's but ours; it tells nothing of the inside."""
    return response(
        Refused(
            500,
            "internal",
            came="the service failed while it answered",
            expected="an answer",
            remedy="tell the operator the X-Request-ID of this response; the log has the rest",
        )
    )


async def _on_refused(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, Refused):
        raise error
    request.state.about["refused"] = error.code
    return response(error)


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    """Errors of the framework: an unknown path, a wrong method."""
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = headers.get("Allow", "another method")
        refused = Refused(
            405, "method", came=f"method {request.method}", expected=allowed, remedy="use a method that is allowed"
        )
    else:
        refused = Refused(
            error.status_code,
            "not-found" if error.status_code == HTTPStatus.NOT_FOUND else "refused",
            came="a path that is not served here",
            expected="one of the paths in /openapi.json",
            remedy="check the address",
        )
    return response(refused, headers)


def install(app: FastAPI) -> None:
    """Let an app answer refusals as problem details."""
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(HTTPException, _on_http)
