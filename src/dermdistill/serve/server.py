"""The app on a socket: uvicorn, with a limit for slow clients that it lacks."""

import asyncio
import socket

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from dermdistill.errors import InputError, explain_os_error
from dermdistill.serve import logs
from dermdistill.serve.settings import Limits, Settings


def listen(settings: Settings) -> socket.socket:
    """A socket that listens where the settings say.

    Raises:
        InputError: the address is taken, not this machine's, or not allowed.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=settings.limits.connections)
    except OSError as error:
        raise InputError(
            f"cannot listen on {settings.host}, port {settings.port}: {explain_os_error(error)}; "
            "choose another with --host and --port"
        ) from None


def address(listening: socket.socket) -> str:
    """The address of a listening socket, for a browser on this machine."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def make_server(app: FastAPI, settings: Settings) -> uvicorn.Server:
    """Uvicorn with the service's limits."""
    limits = settings.limits
    config = uvicorn.Config(
        app,
        http=_protocol(limits),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections,
        timeout_graceful_shutdown=limits.shutdown_seconds,
    )
    return uvicorn.Server(config)


def run(app: FastAPI, settings: Settings, listening: socket.socket) -> None:
    """Serve until a signal comes, then answer the requests that were accepted."""
    logs.configure()
    make_server(app, settings).run(sockets=[listening])


def _protocol(limits: Limits) -> type[asyncio.Protocol]:
    """HTTP/1.1 as uvicorn speaks it; a connection without a request in progress ends after a time.

    That also ends a client that sends its request's headers byte by byte, or goes on with a body that was refused. One
    that does not take its answer is cut off as well.
    """

    class Timed(H11Protocol):
        _timer: asyncio.TimerHandle | None = None
        _stalled: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            self._flows()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stalled = self.loop.call_later(limits.write_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            self._flows()
            super().resume_writing()

        def _flows(self) -> None:
            if self._stalled is not None:
                self._stalled.cancel()
                self._stalled = None

        def _watch(self) -> None:
            """Let the timer run exactly while no request is in progress."""
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop()
            elif self._timer is None and not self.transport.is_closing():
                self._timer = self.loop.call_later(limits.head_seconds, self.transport.close)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Timed
