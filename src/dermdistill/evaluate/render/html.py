"""The report as one HTML page that loads nothing from elsewhere."""

from jinja2 import Environment, PackageLoader, select_autoescape

from dermdistill.evaluate.comparison import CROSS_FITTED, Comparison
from dermdistill.evaluate.document import Report
from dermdistill.evaluate.metrics import LABELS
from dermdistill.evaluate.render import plots
from dermdistill.evaluate.render.text import camera_alone, interval, undefined_reasons, verdict


def page(report: Report, comparison: Comparison) -> str:
    """Draw a report.

    Args:
        report: the figures.
        comparison: the probabilities that the plots are drawn from.
    """
    environment = Environment(
        loader=PackageLoader("dermdistill.evaluate.render"), autoescape=select_autoescape(["html", "j2"])
    )
    environment.filters["interval"] = interval
    return environment.get_template("report.html.j2").render(
        report=report,
        labels=LABELS,
        verdict=verdict(report),
        drawings=plots.drawings(comparison.scored),
        missing=undefined_reasons(report),
        crossed=report.chosen_on == CROSS_FITTED,
        alone=camera_alone(report),
    )
