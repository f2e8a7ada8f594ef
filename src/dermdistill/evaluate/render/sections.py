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
from dermdistill.evaluate.render import charts, plots
from dermdistill.evaluate.render.cases import Cases
from dermdistill.evaluate.render.markdown import gap_rows
from dermdistill.evaluate.render.reliance import draw_corruptions, draw_risk
from dermdistill.evaluate.render.samples import POINT, Sample
from dermdistill.evaluate.render.statistics import in_words
from dermdistill.evaluate.render.text import camera_alone, undefined_reasons


@dataclass(frozen=True)
class Material:
    """What a report is drawn from."""

    report: Report
    comparison: Comparison
    """The probabilities that plots are drawn from, and the runs' training curves."""
    samples: Sequence[Sample] = field(default=())
    """Images to show."""
    cases: Cases | None = None
    """The images on which a model is most right and most wrong."""


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


def _cases(material: Material) -> dict[str, Any] | None:
    found = material.cases
    if found is None:
        return None
    every = [case for group in found.groups.values() for case in group]
    mapped, pictured = any(case.overlay for case in every), any(case.uri for case in every)
    return {"cases": found, "mapped": mapped, "pictured": pictured}


def _drawings(material: Material) -> dict[str, Any]:
    comparison = material.comparison
    thresholds = {
        name: judged.thresholds[POINT] for name, judged in comparison.judged.items() if POINT in judged.thresholds
    }
    return {"drawings": plots.drawings(comparison.scored, thresholds)}


def _decision(material: Material) -> dict[str, Any] | None:
    found = material.report.decision
    return {"drawings": [charts.decision_curve(found)]} if found else None


def _pareto(material: Material) -> dict[str, Any] | None:
    drawn = charts.pareto(material.report.models)
    return {"drawings": drawn} if drawn else None


def _external(material: Material) -> dict[str, Any] | None:
    found = material.report.external
    return {"shown": any(one.scored for one in found.models.values())} if found else None


def _overlap(material: Material) -> dict[str, Any]:
    return {"leaking": [name for name, of in material.report.overlap.items() if of.images]}


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
    Section("models", "Drawings", "drawings", _drawings),
    Section("models", "Operating points", "points",
            lambda of: {"crossed": of.report.chosen_on == CROSS_FITTED}),
    Section("decision", "Decision curve", "decision", _decision, "What acting on it is worth"),
    Section("models", "Cost", "pareto", _pareto, "What an AUROC costs"),
    Section("models", "Sources", "sources", _sources, "By source: melanoma AUROC"),
    Section("unseen", "Unknown camera", "unseen", heading="From a known to an unknown camera: melanoma AUROC"),
    Section("external", "External tests", "external", _external),
    Section("models", "Subgroups", "subgroups", lambda of: {"forest": charts.forest(of.report.models)},
            "Subgroups: melanoma AUROC"),
    Section("robustness", "Robustness", "robustness", heading="Robustness to resampling and compression"),
    Section("corruptions", "Spoiled images", "corruptions", lambda of: {"drawing": draw_corruptions(of.report)}),
    Section("selective", "Abstaining", "selective", lambda of: {"drawing": draw_risk(of.report)}),
    Section("explanations", "Maps", "explanations"),
    Section("models", "Sample images", "samples", _samples),
    Section("models", "Best and worst", "cases", _cases, "Best and worst cases"),
    Section("models", "Training", "curves", _curves),
    Section("models", "Parts", "parts", _parts, "Parts: melanoma AUROC of each training"),
    Section("operating", "Thresholds elsewhere", "operating", lambda of: in_words(of.report.operating)),
    Section("paired", "Tests", "paired", lambda of: in_words(of.report.paired), "Tests against the baseline"),
    Section("calibration", "Calibration", "calibration", lambda of: in_words(of.report.calibration)),
    Section("groups", "Groups and gaps", "groups", lambda of: in_words(of.report.groups)),
    Section("benign", "Diagnoses", "benign", lambda of: in_words(of.report.benign)),
    Section("overlap", "Leak audit", "overlap", _overlap, "What training and these images share"),
    Section("opened", "Test ledger", "opened", heading="How often this test was opened"),
    Section("models", "What is n/a", "missing", _missing, "What is n/a, and why"),
)  # fmt: skip
"""Every section, in the order of the page."""
