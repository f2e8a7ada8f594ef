"""Around every request: its id, its log line, its figures, an answer if all else fails, and headers for safety."""

import logging
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dermdistill.serve import errors
from dermdistill.serve.logs import log
from dermdistill.serve.metrics import Metrics

REQUEST_ID = "X-Request-ID"
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
API_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
"""Of every response that does not set them itself."""


@dataclass
class Observed:
    """An app whose requests are counted and logged; what it does not catch is answered with 500."""

    app: ASGIApp
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        seen = _Seen(scope, send)
        scope.setdefault("state", {})["about"] = seen.about
        self.metrics.in_progress.inc()
        try:
            await self.app(scope, receive, seen.send)
        except ClientDisconnect:
            seen.status = 499  # nobody is left to be answered
        except Exception as error:
            log("failed", logging.ERROR, error, request_id=seen.id)
            if seen.status:
                raise  # too late for another answer; the server closes the connection
            await errors.internal()(scope, receive, seen.send)
        finally:
            self.metrics.in_progress.dec()
            self._tell(scope, seen)

    def _tell(self, scope: Scope, seen: "_Seen") -> None:
        route = getattr(scope.get("route"), "path", None) or "other"
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "OPTIONS") else "other"
        seconds = time.perf_counter() - seen.began
        self.metrics.requests.labels(method, route, str(seen.status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        if "refused" in seen.about:
            self.metrics.refused.labels(seen.about["refused"]).inc()
        log(
            "request",
            request_id=seen.id,
            method=method,
            route=route,
            status=seen.status,
            milliseconds=round(1000 * seconds, 1),
            **seen.about,
        )


@dataclass
class _Seen:
    """What is known of a request, and the way of its response."""

    scope: Scope
    pass_on: Send
    status: int = 0
    about: dict[str, Any] = field(default_factory=dict)
    """What the endpoint adds to the log line: numbers of images and bytes, a refusal's code, a key's owner."""
    began: float = field(default_factory=time.perf_counter)
    id: str = ""

    def __post_init__(self) -> None:
        given = Headers(scope=self.scope).get(REQUEST_ID, "")
        self.id = given if _ID.fullmatch(given) else secrets.token_hex(8)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self.id
            for name, value in API_HEADERS.items():
                headers.setdefault(name, value)
        await self.pass_on(message)
