"""Results as CSV, JSON or JSON lines."""

import csv
import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TextIO

from dermdistill.classes import DISCLAIMER
from dermdistill.predict.predictor import Result

Format = Literal["csv", "json", "jsonl"]


def columns(classes: Sequence[str]) -> list[str]:
    """The columns of a row: file, status, p_melanoma, decision, message, and one probability a class."""
    return ["file", "status", "p_melanoma", "decision", "message", *(f"p_{name}" for name in classes)]


def row(result: Result, classes: Sequence[str]) -> dict[str, Any]:
    """A result as a row; probabilities are rounded to six places, missing ones are None."""
    probabilities = result.probabilities or (None,) * len(classes)
    values = {f"p_{name}": _round(value) for name, value in zip(classes, probabilities, strict=True)}
    return {
        "file": result.file,
        "status": result.status,
        "p_melanoma": _round(result.p_melanoma),
        "decision": result.decision,
        "message": result.message,
        **values,
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def write(
    results: Iterable[Result], classes: Sequence[str], stream: TextIO, kind: Format, about: dict[str, Any]
) -> None:
    """Write results as they come (csv, jsonl), or in one JSON object with `about` and the disclaimer."""
    match kind:
        case "csv":
            writer = csv.DictWriter(stream, columns(classes), lineterminator="\n")
            writer.writeheader()
            for result in results:
                writer.writerow(row(result, classes))
        case "jsonl":
            for result in results:
                stream.write(json.dumps(row(result, classes), ensure_ascii=False, allow_nan=False) + "\n")
        case "json":
            rows = [row(result, classes) for result in results]
            content = {"disclaimer": DISCLAIMER, **about, "results": rows}
            stream.write(json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False) + "\n")
