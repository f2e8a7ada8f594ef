"""A table of the report as heads and rows of text, and how numbers stand in it."""

from dataclasses import dataclass
from typing import Any

NOT_RUN = "–"
"""Stands where nothing was run, or nothing was published."""


@dataclass(frozen=True)
class Grid:
    """A table as text."""

    title: str
    head: list[str]
    rows: list[list[str]]
    notes: list[str]


def mean_sd(spread: dict[str, Any], places: int = 3, signed: bool = False) -> str:
    """Mean ± standard deviation (seeds); the mean alone of one seed."""
    if spread["mean"] is None:
        return NOT_RUN
    sign = "+" if signed else ""
    text = f"{spread['mean']:{sign}.{places}f}"
    return text if spread["sd"] is None else f"{text} ± {spread['sd']:.{places}f} ({spread['n']})"


def number(value: float | None, places: int = 3) -> str:
    """A published number, or a dash where none is known."""
    return NOT_RUN if value is None else f"{value:,.{places}f}"


def interval(figure: dict[str, Any], places: int = 3, signed: bool = False) -> str:
    """A value with its 95 % interval, as far as both are defined."""
    if figure["value"] is None:
        return "undefined"
    sign = "+" if signed else ""
    text = f"{figure['value']:{sign}.{places}f}"
    if figure["low"] is None:
        return text
    return f"{text} [{figure['low']:{sign}.{places}f}, {figure['high']:{sign}.{places}f}]"


def accuracy(entry: dict[str, Any]) -> str:
    """A row's accuracy over its seeds, or that it failed."""
    return "failed" if entry["failed"] and not entry["seeds"] else mean_sd(entry["summary"]["accuracy"])


def failures(entries: list[dict[str, Any]]) -> list[str]:
    """A line on each row that failed, with the reason."""
    return [
        f"{entry['name']}{', ' + entry['protocol'] if entry['protocol'] else ''}: {reason}"
        for entry in entries
        for reason in entry["failed"]
    ]


def pairs(entries: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The same row as published and corrected."""
    published, corrected = (
        [entry for entry in entries if entry["protocol"] == protocol] for protocol in ("as-published", "corrected")
    )
    return list(zip(published, corrected, strict=True))


def markdown_table(grid: Grid) -> list[str]:
    """A table's lines in Markdown."""
    rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in [grid.head, *grid.rows]]
    return [rows[0], "|" + "---|" * len(grid.head), *rows[1:]]
