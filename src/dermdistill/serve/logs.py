"""Logs as JSON, a line an event, on standard output.

They hold no image, no file's name, and no address of a client.
"""

import json
import logging
import logging.config
import traceback
from datetime import UTC, datetime
from typing import Any

LOGGER = "dermdistill.serve"
_EVENT = "event"


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; an exception's words may quote a request, so only its type and places are told."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _EVENT, {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            content["error"] = type(error).__name__
            content["at"] = [f"{at.filename}:{at.lineno} {at.name}" for at in traceback.extract_tb(error.__traceback__)]
        return json.dumps(content, ensure_ascii=False, default=str)


def log(message: str, level: int = logging.INFO, error: BaseException | None = None, **event: Any) -> None:
    """Write an event.

    Args:
        message: what happened, in a word or two.
        level: of `logging`.
        error: its type and places are added.
        event: keys and plain values.
    """
    logging.getLogger(LOGGER).log(level, message, extra={_EVENT: event}, exc_info=error)


def config(level: str = "INFO") -> dict[str, Any]:
    """The settings of `logging` for the service and for uvicorn; uvicorn's own access log, with addresses, is off."""
    own = {"handlers": ["out"], "level": level, "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonFormatter}},
        "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}},
        "loggers": {LOGGER: own, "uvicorn": own, "uvicorn.access": {"handlers": [], "propagate": False}},
    }


def configure(level: str = "INFO") -> None:
    """Send the events of the service and of uvicorn to standard output."""
    logging.config.dictConfig(config(level))
