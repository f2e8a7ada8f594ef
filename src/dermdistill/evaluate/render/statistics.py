"""What the sections of thresholds elsewhere, tests, calibration, groups and diagnoses say in words."""

from typing import Any

_WAYS = {
    "before": "before: as the model gives them",
    "used": "used in this report",
    "temperature": "temperature",
    "vector": "vector scaling",
    "dirichlet": "Dirichlet",
    "isotonic": "isotonic",
    "beta": "beta",
}
"""Ways of calibrating."""


def in_words(section: Any) -> dict[str, Any]:
    """What the partial template of one of these sections needs beside the report."""
    return {"section": section, "ways": _WAYS, "point": point, "p_value": p_value}


def point(name: str) -> str:
    """An operating point in words."""
    aim, _, percent = name.partition("_")
    return f"{aim} {percent} %" if percent else aim


def p_value(value: float | None) -> str:
    """A p value as text."""
    if value is None:
        return "n/a"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
