"""What can be set of the service, and its limits."""

import ipaddress
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from dermdistill.images.decode import MAX_PIXELS
from dermdistill.specs import Strict


class Limits(Strict):
    """What one request, and all of them together, may take."""

    body_bytes: int = Field(20_000_000, gt=0)
    """The largest body of a request."""
    pixels: int = Field(50_000_000, gt=0, le=MAX_PIXELS)
    """Larger images are refused before they are decoded."""
    images: int = Field(16, gt=0)
    """The most images of a request."""
    requests: int = Field(32, gt=0)
    """So many predictions are read or answered at once; further ones get 503."""
    memory_bytes: int = Field(200_000_000, gt=0)
    """What the bodies of all requests together may take; further ones get 503."""
    queue: int = Field(128, gt=0)
    """So many images are decoded, wait or are judged at once; further ones get 503."""
    read_seconds: float = Field(30, gt=0)
    """The time for a request's body; a slower client gets 408."""
    head_seconds: float = Field(10, gt=0)
    """The time for a request's line and headers; a slower client is cut off."""
    write_seconds: float = Field(120, gt=0)
    """A client that takes nothing of its answer for so long is cut off."""
    answer_seconds: float = Field(30, gt=0)
    """The time from a whole body to its answer; what takes longer gets 503."""
    shutdown_seconds: int = Field(30, gt=0)
    """The time that a stopping service gives to the requests it has accepted."""
    connections: int = Field(512, gt=0)
    """While so many connections are open, further requests get 503."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.queue < self.images:
            raise ValueError(f"the queue of {self.queue} images takes no request of {self.images}; make it longer")
        if self.memory_bytes < self.body_bytes:
            raise ValueError(f"memory for {self.memory_bytes:,} bytes takes no body of {self.body_bytes:,}; allow more")
        return self


class Settings(Strict):
    """How the service runs."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    """0 takes a free port."""
    batch_size: int = Field(16, gt=0)
    """The most images of a forward pass."""
    decoders: int = Field(2, gt=0)
    """Threads that decode images."""
    keys: Path | None = None
    """A file of hashed keys; without one everybody is answered."""
    cors: tuple[str, ...] = ()
    """Origins whose pages may call the service from a browser."""
    limits: Limits = Limits()

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
