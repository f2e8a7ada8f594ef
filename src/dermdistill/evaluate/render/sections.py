"""The sections of the HTML report, in the order of the page: one line each in `SECTIONS`.

A section is there if its field of the report holds something. Its partial template in `templates/sections/` sees
`report`, `labels` (of the metrics), `first` (the first model) and what its renderer gives, such as drawings; the macros
`cell`, `gap`, `compared` and `figure` are in `macros.html.j2`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dermdistill.evaluate.comparison import CROSS_FITTED, Comparison
from dermdistill.evaluate.document import Report
from dermdistill.evaluate.render import plots
from dermdistill.evaluate.render.markdown import gap_rows
from dermdistill.evaluate.render.samples import Sample
from dermdistill.evaluate.render.text import camera_alone, undefined_reasons


@dataclass(frozen=True)
class Material:
    """What a report is drawn from."""

    report: Report
    comparison: Comparison
    """The probabilities that plots are drawn from, and the runs' training curves."""
    samples: Sequence[Sample] = field(default=())
    """Images to show."""


Renderer = Callable[[Material], dict[str, Any] | None]
"""Gives what a partial template needs beside the report; None leaves the section out."""


def plain(material: Material) -> dict[str, Any]:
    """Of a section that needs nothing beside the report."""
    return {}


@dataclass(frozen=True)
class Section:
    """One section of the page."""

    field: str
    """Of `Report`: the section is left out where it is empty."""
    title: str
    """In the list of contents."""
    template: str
    """NAME of templates/sections/NAME.html.j2, and the section's anchor."""
    renderer: Renderer = plain
    heading: str = ""
    """Above the section, if not the title."""


def _samples(material: Material) -> dict[str, Any] | None:
    return {"samples": material.samples} if material.samples else None


def _curves(material: Material) -> dict[str, Any] | None:
    curves = plots.training_curves({name: model.epochs for name, model in material.comparison.models.items()})
    return {"curves": curves} if curves else None


def _parts(material: Material) -> dict[str, Any] | None:
    parts = list(dict.fromkeys(part for model in material.report.models.values() for part in model.parts))
    return {"parts": parts} if parts else None


def _missing(material: Material) -> dict[str, Any] | None:
    missing = undefined_reasons(material.report)
    return {"missing": missing} if missing else None


def _sources(material: Material) -> dict[str, Any] | None:
    report = material.report
    return {"alone": camera_alone(report)} if report.by_source or report.within else None


SECTIONS: tuple[Section, ...] = (
    Section("models", "Figures", "figures"),
    Section("differences", "Differences", "differences", heading="Paired differences to the baseline"),
    Section("over_seeds", "Seeds", "seeds", lambda of: {"gaps": gap_rows(of.report)[1]}, "Over the seeds"),
    Section("models", "Sources", "sources", _sources, "By source: melanoma AUROC"),
    Section("unseen", "Unknown camera", "unseen", heading="From a known to an unknown camera: melanoma AUROC"),
    Section("robustness", "Robustness", "robustness", heading="Robustness to resampling and compression"),
    Section("models", "Sample images", "samples", _samples),
    Section("models", "Training", "curves", _curves),
    Section("models", "Drawings", "drawings", lambda of: {"drawings": plots.drawings(of.comparison.scored)}),
    Section("models", "Operating points", "points",
            lambda of: {"crossed": of.report.chosen_on == CROSS_FITTED}),
    Section("models", "Subgroups", "subgroups", heading="Subgroups: melanoma AUROC"),
    Section("models", "Parts", "parts", _parts, "Parts: melanoma AUROC of each training"),
    Section("models", "What is n/a", "missing", _missing, "What is n/a, and why"),
)  # fmt: skip
"""Every section, in the order of the page."""
