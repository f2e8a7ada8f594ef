"""The evidence: every model on the same images, calibrated and thresholded on validation, with intervals."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from dermdistill import talk
from dermdistill.classes import DISCLAIMER
from dermdistill.evaluate.analyses.corruptions import corrupted
from dermdistill.evaluate.analyses.data import Bootstrap, describe
from dermdistill.evaluate.analyses.differences import differences
from dermdistill.evaluate.analyses.explanations import Explained, explanations
from dermdistill.evaluate.analyses.headline import headline
from dermdistill.evaluate.analyses.robustness import Answerer, robustness
from dermdistill.evaluate.analyses.seeds import over_seeds
from dermdistill.evaluate.analyses.selective import selective
from dermdistill.evaluate.analyses.sources import by_source, draw_within, within
from dermdistill.evaluate.analyses.subgroups import draw
from dermdistill.evaluate.analyses.unseen import unseen
from dermdistill.evaluate.comparison import Comparison, gather
from dermdistill.evaluate.document import Report
from dermdistill.evaluate.predictions import ModelPredictions
from dermdistill.evaluate.render.html import page
from dermdistill.evaluate.render.markdown import markdown
from dermdistill.evaluate.render.samples import samples
from dermdistill.evaluate.spec import EvaluateSpec
from dermdistill.files import write_json, write_text
from dermdistill.specs import parse
from dermdistill.version import __version__


@dataclass(frozen=True)
class FromImages:
    """What a report needs the images themselves for."""

    samples: int = 0
    """How many images are shown, as thumbnails inside the page; 0 for a report that is passed on without images."""
    answerers: dict[str, Answerer] = field(default_factory=dict)
    """Models whose robustness to resampling and JPEG compression is measured, by name."""
    corrupted: dict[str, Answerer] = field(default_factory=dict)
    """Models that are judged on spoiled images, by name."""
    explained: dict[str, Explained] = field(default_factory=dict)
    """Models whose maps are examined, by name."""
    explained_images: int = 20
    """On how many images."""


def evaluate(
    manifest: pd.DataFrame,
    models: dict[str, ModelPredictions],
    out: str | Path,
    *,
    baseline: str | None = None,
    replicates: int = 2000,
    seed: int = 0,
    role: str = "test",
    images: FromImages | None = None,
) -> Report:
    """Judge models side by side and write report.json, report.html and table.md.

    Temperature and thresholds come from each model's validation rows; everything else from the rows of `role`. Where
    no model has validation rows, as after cross-validation, the judged images are divided in groups and those of the
    other groups choose for each (`dermdistill.evaluate.thresholds.cross_fit`).

    Args:
        manifest: all images.
        models: predictions by name.
        out: the report's folder.
        baseline: the model that the others are compared with, by default the first.
        replicates: of the bootstrap.
        seed: of the bootstrap.
        role: the rows that are judged.
        images: what to do with the images themselves; by default they are not opened.

    Raises:
        InputError: no models, an unknown baseline, models on different images, images that the manifest lacks.
    """
    given = {"baseline": baseline, "replicates": replicates, "seed": seed}
    comparison = gather(manifest, models, parse(EvaluateSpec, given, "evaluate"), role)
    images = images or FromImages()
    report = measure(comparison, images)
    write_report(report, comparison, images, Path(out))
    return report


def measure(comparison: Comparison, images: FromImages) -> Report:
    """Every section of the report."""
    inside = draw_within(comparison.table, comparison.scored, comparison.weights)
    truth = comparison.judged[comparison.baseline].scored.y
    with talk.bars() as bars:
        models = bars.track(comparison.scored.items(), len(comparison.scored), description="bootstrap")
        drawn = {name: draw(comparison.table, scored, comparison.weights) for name, scored in models}
    return Report(
        dermdistill=__version__,
        disclaimer=DISCLAIMER,
        data=describe(comparison),
        chosen_on=comparison.chosen_on,
        bootstrap=Bootstrap(replicates=comparison.spec.replicates, seed=comparison.spec.seed),
        baseline=comparison.baseline,
        models=headline(comparison, drawn),
        differences=differences(comparison),
        over_seeds=over_seeds(comparison, inside),
        by_source=by_source(drawn, comparison.baseline),
        within=within(comparison.table, inside, truth, comparison.weights, comparison.baseline),
        unseen=unseen(comparison),
        corruptions=corrupted(images.corrupted, comparison),
        selective=selective(comparison),
        explanations=explanations(images.explained, comparison, images.explained_images),
        robustness={name: robustness(answerer, comparison) for name, answerer in images.answerers.items()},
    )


def write_report(report: Report, comparison: Comparison, images: FromImages, out: Path) -> None:
    """Write report.html, table.md and, when these are there, report.json."""
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "report.html", page(report, comparison, samples(comparison, images.samples)))
    write_text(out / "table.md", markdown(report))
    write_json(out / "report.json", report.model_dump(mode="json"))
