"""What FastAPI cannot know for the OpenAPI document: bodies that are read by hand, refusals, and examples."""

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from dermdistill.classes import DISCLAIMER
from dermdistill.serve.errors import MEDIA_TYPE
from dermdistill.serve.schemas import PredictIn, Problem

_ENTRY: dict[str, Any] = {
    "index": 0, "file": "left-arm.jpg", "status": "ok", "p_melanoma": 0.031, "decision": "below_threshold",
    "probabilities": {"akiec": 0.011, "bcc": 0.022, "bkl": 0.08, "df": 0.006, "mel": 0.031, "nv": 0.845, "vasc": 0.005},
    "quality": "good", "message": "",
}  # fmt: skip
_FAILED: dict[str, Any] = {
    "index": 1, "file": "notes.txt", "status": "not_an_image", "p_melanoma": None, "decision": None,
    "probabilities": None, "quality": None, "message": "notes.txt: not an image in a format that is read",
}  # fmt: skip
_MODEL = {"name": "lite0-cut-112", "version": "0.1.0", "sha256": "0320a7ebe79a6355…"}

_REFUSED: dict[str, Any] = {
    "index": 2, "file": "cat.jpg", "status": "refused", "p_melanoma": None, "decision": None, "probabilities": None,
    "quality": "not_dermoscopic",
    "message": "cat.jpg: refused: it does not look like a dermoscopic image; --gate judge answers nonetheless",
}  # fmt: skip

ANSWER_EXAMPLE: dict[str, Any] = {
    "disclaimer": DISCLAIMER, "model": _MODEL, "threshold": {"name": "sensitivity_95", "value": 0.0439},
    "results": [_ENTRY, _FAILED, _REFUSED],
}  # fmt: skip
PROBLEM_EXAMPLE: dict[str, Any] = {
    "type": "urn:dermdistill:too-large", "title": "Content Too Large", "status": 413,
    "detail": "a body of 31,000,000 bytes", "expected": "at most 20,000,000 bytes",
    "remedy": "send fewer or smaller images",
}  # fmt: skip
REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["images"],
                "additionalProperties": False,
                "properties": {
                    "images": {
                        "type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"},
                        "description": "Image files.",
                    },
                    "threshold": {
                        "type": "string", "examples": ["sensitivity_95", "0.1"],
                        "description": "One of the model's thresholds, or a probability from 0 to 1.",
                    },
                },
            },
            "encoding": {"images": {"contentType": "image/*"}},
        },
        "application/json": {
            "schema": {"$ref": "#/components/schemas/PredictIn"},
            "examples": {
                "one": {
                    "summary": "One image, at a named threshold",
                    "value": {
                        "images": [{"name": "left-arm.jpg", "data": "iVBORw0KGgoAAAANSUhEUgAA…"}],
                        "threshold": "sensitivity_95",
                    },
                }
            },
        },
    },
}  # fmt: skip
"""The body of a prediction in the words of OpenAPI: a form or JSON."""
_MEANING = {
    400: "The body is malformed.",
    401: "The service asks for a key.",
    404: "The model has no card.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is of another type.",
    422: "The body does not fit, or none of its images can be used.",
    500: "The service or its model failed.",
    503: "The service has enough to do; the header Retry-After says when to try again.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of an endpoint, for the OpenAPI document."""
    example = {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}, "example": PROBLEM_EXAMPLE}
    return {status: {"description": _MEANING[status], "content": {MEDIA_TYPE: example}} for status in statuses}


def install(app: FastAPI) -> None:
    """Add the schemas that `REQUEST_BODY` and `problems` refer to."""
    made = app.openapi

    def document() -> dict[str, Any]:
        content = made()
        _, own = models_json_schema(
            [(PredictIn, "validation"), (Problem, "serialization")], ref_template="#/components/schemas/{model}"
        )
        content["components"]["schemas"].update(own["$defs"])
        return content

    app.openapi = document  # type: ignore[method-assign]
