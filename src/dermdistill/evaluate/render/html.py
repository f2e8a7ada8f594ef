"""The report as one HTML page that loads nothing from elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, select_autoescape

from dermdistill.data.sources import source_name
from dermdistill.evaluate.comparison import CROSS_FITTED, Comparison
from dermdistill.evaluate.document import Report
from dermdistill.evaluate.metrics import LABELS
from dermdistill.evaluate.render.cases import Cases
from dermdistill.evaluate.render.samples import Sample
from dermdistill.evaluate.render.sections import SECTIONS, Material
from dermdistill.evaluate.render.text import group_name, interval, verdict


@dataclass(frozen=True)
class _Drawn:
    """A section as HTML."""

    key: str
    title: str
    heading: str
    body: str


def page(report: Report, comparison: Comparison, samples: Sequence[Sample] = (), cases: Cases | None = None) -> str:
    """Draw a report.

    Args:
        report: the figures.
        comparison: the probabilities that the plots are drawn from, and the runs' training curves.
        samples: images to show.
        cases: the images on which a model is most right and most wrong.
    """
    environment = Environment(
        loader=PackageLoader("dermdistill.evaluate.render"), autoescape=select_autoescape(["html", "j2"])
    )
    environment.filters["interval"] = interval
    environment.filters["group_name"] = group_name
    environment.filters["source_name"] = source_name
    return environment.get_template("report.html.j2").render(
        report=report,
        verdict=verdict(report),
        crossed=report.chosen_on == CROSS_FITTED,
        sections=list(_sections(environment, Material(report, comparison, samples, cases))),
    )


def _sections(environment: Environment, material: Material) -> Iterator[_Drawn]:
    """Those of `SECTIONS` that hold something."""
    report = material.report
    for section in SECTIONS:
        more = section.renderer(material) if getattr(report, section.field) else None
        if more is not None:
            template = environment.get_template(f"sections/{section.template}.html.j2")
            body = template.render(report=report, labels=LABELS, first=next(iter(report.models.values())), **more)
            yield _Drawn(section.template, section.title, section.heading or section.title, body)
