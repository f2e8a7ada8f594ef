"""Sections of the page for operating points elsewhere, tests, calibration, groups and diagnoses."""

from dataclasses import dataclass

from jinja2 import Environment
from markupsafe import Markup

from dermdistill.evaluate.document import Report

_LABELS = {
    "before": "before: as the model gives them",
    "used": "used in this report",
    "temperature": "temperature",
    "vector": "vector scaling",
    "dirichlet": "Dirichlet",
    "isotonic": "isotonic",
    "beta": "beta",
}
"""Ways of calibrating."""


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    key: str
    """Its anchor, and the field of the report that it shows."""
    title: str
    html: Markup


def sections(report: Report, environment: Environment) -> list[Section]:
    """Those that the report has something for.

    Args:
        report: the figures.
        environment: of the page's templates, with the filter `interval`.
    """
    titles = {
        "operating": "Operating points elsewhere",
        "paired": "Tests against the baseline",
        "calibration": "Calibration",
        "groups": "Groups and gaps",
        "benign": "Diagnoses",
    }
    found = []
    for key, title in titles.items():
        section = getattr(report, key)
        if section is None:
            continue
        html = environment.get_template(f"sections/{key}.html.j2").render(
            report=report, section=section, title=title, ways=_LABELS
        )
        found.append(Section(key, title, Markup(html)))
    return found


def point(name: str) -> str:
    """An operating point in words."""
    aim, _, percent = name.partition("_")
    return f"{aim} {percent} %" if percent else aim


def p_value(value: float | None) -> str:
    """A p value as text."""
    if value is None:
        return "n/a"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
