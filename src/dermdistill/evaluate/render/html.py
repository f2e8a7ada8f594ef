"""The report as one HTML page that loads nothing from elsewhere."""

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, select_autoescape

from dermdistill.evaluate.comparison import CROSS_FITTED, Comparison
from dermdistill.evaluate.document import Report
from dermdistill.evaluate.metrics import LABELS
from dermdistill.evaluate.render import plots
from dermdistill.evaluate.render.markdown import gap_rows
from dermdistill.evaluate.render.reliance import drawings_of_reliance
from dermdistill.evaluate.render.samples import Sample
from dermdistill.evaluate.render.text import camera_alone, interval, undefined_reasons, verdict


def _contents(report: Report, extra: dict[str, bool]) -> dict[str, str]:
    """The sections that the page has: their titles by their anchors."""
    return {
        key: title
        for key, title, there in (
            ("figures", "Figures", True),
            ("differences", "Differences", bool(report.differences)),
            ("seeds", "Seeds", bool(report.over_seeds)),
            ("sources", "Sources", bool(report.by_source) or report.within is not None),
            ("unseen", "Unknown camera", bool(report.unseen)),
            ("robustness", "Robustness", bool(report.robustness)),
            ("corruptions", "Spoiled images", bool(report.corruptions)),
            ("selective", "Abstaining", bool(report.selective)),
            ("explanations", "Maps", bool(report.explanations)),
            ("samples", "Sample images", extra["samples"]),
            ("curves", "Training", extra["curves"]),
            ("drawings", "Drawings", True),
            ("points", "Operating points", True),
            ("subgroups", "Subgroups", True),
            ("parts", "Parts", any(model.parts for model in report.models.values())),
            ("missing", "What is n/a", extra["missing"]),
        )
        if there
    }


def page(report: Report, comparison: Comparison, samples: Sequence[Sample] = ()) -> str:
    """Draw a report.

    Args:
        report: the figures.
        comparison: the probabilities that the plots are drawn from, and the runs' training curves.
        samples: images to show.
    """
    environment = Environment(
        loader=PackageLoader("dermdistill.evaluate.render"), autoescape=select_autoescape(["html", "j2"])
    )
    environment.filters["interval"] = interval
    missing = undefined_reasons(report)
    parts = list(dict.fromkeys(part for model in report.models.values() for part in model.parts))
    curves = plots.training_curves({name: model.epochs for name, model in comparison.models.items()})
    return environment.get_template("report.html.j2").render(
        report=report,
        labels=LABELS,
        verdict=verdict(report),
        drawings=plots.drawings(comparison.scored),
        curves=curves,
        contents=_contents(report, {"samples": bool(samples), "curves": bool(curves), "missing": bool(missing)}),
        samples=samples,
        parts=parts,
        missing=missing,
        crossed=report.chosen_on == CROSS_FITTED,
        alone=camera_alone(report),
        gaps=gap_rows(report)[1],
        reliance=drawings_of_reliance(report),
    )
