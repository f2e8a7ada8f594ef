"""What the endpoints share, and how they get it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from dermdistill.predict.predictor import Predictor
from dermdistill.serve.batching import Pipeline
from dermdistill.serve.errors import Refused
from dermdistill.serve.keys import Keys
from dermdistill.serve.limits import Admission
from dermdistill.serve.metrics import Metrics
from dermdistill.serve.settings import Settings


@dataclass
class Service:
    """One model and what answers for it."""

    predictor: Predictor
    settings: Settings
    keys: Keys | None
    admission: Admission
    pipeline: Pipeline
    metrics: Metrics
    status: str = "starting"
    """'starting', 'ready' or 'stopping'."""


def service_of(request: Request) -> Service:
    """The service of the app that a request came to."""
    service: Service = request.app.state.service
    return service


Shared = Annotated[Service, Depends(service_of)]
_bearer = HTTPBearer(auto_error=False, description="A key, if the service asks for one (`--keys`).")


def authorised(
    request: Request, service: Shared, given: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> None:
    """Let a request pass if the service has no keys, or if it brings one of them.

    Raises:
        Refused: no key, or an unknown one.
    """
    if service.keys is None:
        return
    owner = service.keys.owner(given.credentials) if given else None
    if owner is None:
        raise Refused(
            401,
            "key",
            came="an unknown key" if given else "a request without a key",
            expected="the header 'Authorization: Bearer KEY'",
            remedy="ask the operator for a key; `dermdistill serve-key` makes one",
        )
    request.state.about["key"] = owner
