"""What all requests together may take, and the reading of a body within its limits."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass, field

from starlette.requests import Request

from dermdistill.serve.errors import Refused, overloaded
from dermdistill.serve.settings import Limits


@dataclass
class Admission:
    """Counts the requests in progress and the bytes that their bodies take; lives in the event loop's thread."""

    limits: Limits
    requests: int = 0
    body_bytes: int = 0

    @contextlib.contextmanager
    def one(self) -> Iterator["Body"]:
        """Let one request in for the time of the block.

        Raises:
            Refused: enough requests are in progress.
        """
        if self.requests >= self.limits.requests:
            raise overloaded(f"a request while {self.requests} others are in progress")
        self.requests += 1
        body = Body(self)
        try:
            yield body
        finally:
            self.requests -= 1
            body.release()


@dataclass
class Body:
    """The body of one request, whose bytes count into those of all."""

    admission: Admission
    taken: int = field(default=0, init=False)

    @contextlib.asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """A block that reads a body and ends in time.

        Raises:
            Refused: it did not.
        """
        seconds = self.admission.limits.read_seconds
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise Refused(
                408,
                "slow-body",
                came=f"{self.taken:,} bytes of a body in {seconds:g} s",
                expected=f"the whole body within {seconds:g} s",
                remedy="send fewer or smaller images, or use a faster connection",
            ) from None

    async def stream(self, request: Request) -> AsyncGenerator[bytes, None]:
        """The chunks of a request's body, within the limits of size and memory.

        Raises:
            Refused: it is too large, or all bodies together are.
            ClientDisconnect: the client has left.
        """
        self._check(_announced(request))
        async for chunk in request.stream():
            self._check(self.taken + len(chunk))
            self._take(len(chunk))
            yield chunk

    def release(self) -> None:
        """Give the bytes back."""
        self.admission.body_bytes -= self.taken
        self.taken = 0

    def _check(self, size: int) -> None:
        most = self.admission.limits.body_bytes
        if size > most:
            raise Refused(
                413,
                "too-large",
                came=f"a body of {size:,} bytes or more",
                expected=f"at most {most:,} bytes",
                remedy="send fewer or smaller images",
            )

    def _take(self, size: int) -> None:
        if self.admission.body_bytes + size > self.admission.limits.memory_bytes:
            raise overloaded(f"a body while {self.admission.body_bytes:,} bytes of other bodies are in progress")
        self.admission.body_bytes += size
        self.taken += size


def _announced(request: Request) -> int:
    """The size that a request's header announces; 0 without one, since the bytes are counted all the same."""
    given = request.headers.get("content-length", "")
    return int(given) if given.isascii() and given.isdigit() else 0
