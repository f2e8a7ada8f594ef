"""Results as CSV, JSON or JSON lines."""

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TextIO

from dermdistill.classes import DISCLAIMER
from dermdistill.predict.predictor import Result

Format = Literal["csv", "json", "jsonl"]
UID = "sop_instance_uid"


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
    results: Iterable[Result],
    classes: Sequence[str],
    stream: TextIO,
    kind: Format,
    about: dict[str, Any],
    uid_of: Callable[[str], str] | None = None,
) -> None:
    """Write results as they come (csv, jsonl), or in one JSON object with `about` and the disclaimer.

    Args:
        uid_of: gives the SOP Instance UID of a DICOM object from a result's file, for a last column; by default there
            is none.
    """
    names, rows = columns(classes), (row(result, classes) for result in results)
    if uid_of is not None:
        names, rows = [*names, UID], ({**found, UID: uid_of(found["file"])} for found in rows)
    match kind:
        case "csv":
            writer = csv.DictWriter(stream, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        case "jsonl":
            for found in rows:
                stream.write(json.dumps(found, ensure_ascii=False, allow_nan=False) + "\n")
        case "json":
            content = {"disclaimer": DISCLAIMER, **about, "results": list(rows)}
            stream.write(json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False) + "\n")
