"""The evidence: every model on the same images, calibrated and thresholded on validation, with intervals."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from dermdistill import talk
from dermdistill.classes import DISCLAIMER
from dermdistill.evaluate.analyses.benign import benign
from dermdistill.evaluate.analyses.calibration import calibration
from dermdistill.evaluate.analyses.corruptions import corrupted
from dermdistill.evaluate.analyses.data import Bootstrap, describe
from dermdistill.evaluate.analyses.decision import decision
from dermdistill.evaluate.analyses.differences import differences
from dermdistill.evaluate.analyses.explanations import Explained, explanations
from dermdistill.evaluate.analyses.external import External, external_tests
from dermdistill.evaluate.analyses.groups import groups
from dermdistill.evaluate.analyses.headline import headline
from dermdistill.evaluate.analyses.opened import opened
from dermdistill.evaluate.analyses.operating import operating
from dermdistill.evaluate.analyses.overlap import overlap, refuse
from dermdistill.evaluate.analyses.paired import paired
from dermdistill.evaluate.analyses.robustness import Answerer, robustness
from dermdistill.evaluate.analyses.seeds import over_seeds
from dermdistill.evaluate.analyses.selective import selective
from dermdistill.evaluate.analyses.sources import by_source, draw_within, within
from dermdistill.evaluate.analyses.subgroups import draw, groups_of
from dermdistill.evaluate.analyses.unseen import unseen
from dermdistill.evaluate.comparison import Comparison, gather, refuse_fitting
from dermdistill.evaluate.document import Report
from dermdistill.evaluate.ledger import DeclaredTest
from dermdistill.evaluate.predictions import ModelPredictions
from dermdistill.evaluate.render.cases import Cases, Explainer, Shown, cases
from dermdistill.evaluate.render.html import page
from dermdistill.evaluate.render.markdown import markdown
from dermdistill.evaluate.render.samples import samples
from dermdistill.evaluate.skin_tone import with_tones
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
    skin_tone: bool = False
    """Whether subgroups by the tone of the skin are made, which opens every judged image."""
    cases: int = 0
    """How many of each kind of the images on which a model is most right and most wrong are shown inside the page."""
    pictures: bool = True
    """Whether these cases are shown themselves, or by their maps alone."""
    explainers: dict[str, Explainer] = field(default_factory=dict)
    """What draws a model's map of an image, by name; whose cases are shown, the first that is not the baseline."""
    corrupted: dict[str, Answerer] = field(default_factory=dict)
    """Models that are judged on spoiled images, by name."""
    corrupted_images: int | None = None
    """On how many images, half of them melanomas where there are enough; by default on all."""
    explained: dict[str, Explained] = field(default_factory=dict)
    """Models whose maps are examined, by name."""
    explained_images: int = 20
    """On how many images."""


@dataclass(frozen=True)
class Circumstances:
    """What is known of the evaluation beside predictions and images."""

    test: DeclaredTest | None = None
    """The ledger, where the judged images are declared a test."""
    external: External | None = None
    """The file of external tests, of which those of a known graph are shown."""
    allow_overlap: bool = False
    """Flag images that a model has learned from, and do not refuse them."""
    without_source: Mapping[str, ModelPredictions] = field(default_factory=dict)
    """By a model's name what it predicts where it was trained without the source of each image."""
    cross_fit: bool = False
    """Let the images of a declared test choose temperature and thresholds for each other where nothing else can."""


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
    settings: Mapping[str, Any] = MappingProxyType({}),
    circumstances: Circumstances = Circumstances(),
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
        settings: further keys of `dermdistill.evaluate.spec.EvaluateSpec`: margin, prevalence, readers, subgroups.
        circumstances: the ledger, external tests, and whether an overlap with training is allowed.

    Raises:
        InputError: no models, an unknown baseline, models on different images, images that the manifest lacks,
            images that a model has learned from, a declared test that would have to calibrate a model.
    """
    given = {"baseline": baseline, "replicates": replicates, "seed": seed, **settings}
    images = images or FromImages()
    if images.skin_tone:
        manifest = with_tones(manifest, {name for model in models.values() for name in model.ids(role)})
    comparison = gather(manifest, models, parse(EvaluateSpec, given, "evaluate"), role)
    report = measure(comparison, images, circumstances)
    write_report(report, comparison, images, Path(out))
    return report


def measure(comparison: Comparison, images: FromImages, circumstances: Circumstances = Circumstances()) -> Report:
    """Every section of the report.

    Raises:
        InputError: a model has learned from judged images, or would be calibrated on a declared test.
    """
    if circumstances.test and not circumstances.cross_fit:
        refuse_fitting(comparison)
    leaks = overlap(comparison)
    if not circumstances.allow_overlap:
        refuse(leaks)
    visits = opened(comparison, circumstances.test) if circumstances.test else None
    inside = draw_within(comparison.table, comparison.scored, comparison.weights)
    truth = comparison.judged[comparison.baseline].scored.y
    with talk.bars() as bars:
        models = bars.track(comparison.scored.items(), len(comparison.scored), description="bootstrap")
        of = groups_of(comparison.table, comparison.spec.subgroups)
        drawn = {name: draw(of, scored, comparison.weights) for name, scored in models}
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
        unseen=unseen(comparison, circumstances.without_source),
        corruptions=corrupted(images.corrupted, comparison, images.corrupted_images),
        selective=selective(comparison),
        explanations=explanations(images.explained, comparison, images.explained_images),
        robustness={name: robustness(answerer, comparison) for name, answerer in images.answerers.items()},
        operating=operating(comparison),
        paired=paired(comparison),
        calibration=calibration(comparison),
        groups=groups(comparison, of, drawn),
        benign=benign(comparison),
        decision=decision(comparison),
        external=external_tests(_graphs(comparison), circumstances.external),
        overlap=leaks,
        opened=visits,
    )


def _graphs(comparison: Comparison) -> dict[str, str]:
    """The SHA-256 of each model's graph, where it is known."""
    found = {name: model.provenance.graph_sha256 for name, model in comparison.models.items()}
    return {name: graph for name, graph in found.items() if graph is not None}


def write_report(report: Report, comparison: Comparison, images: FromImages, out: Path) -> None:
    """Write report.html, table.md and, when these are there, report.json."""
    out.mkdir(parents=True, exist_ok=True)
    write_text(
        out / "report.html", page(report, comparison, samples(comparison, images.samples), _cases(comparison, images))
    )
    write_text(out / "table.md", markdown(report))
    write_json(out / "report.json", report.model_dump(mode="json"))


def _cases(comparison: Comparison, images: FromImages) -> Cases | None:
    """The cases of the first model with an explainer, the baseline last; without any, of the baseline."""
    if not images.cases:
        return None
    explained = [name for name in comparison.models if name in images.explainers]
    explained.sort(key=lambda name: name == comparison.baseline)
    name = (explained or [comparison.baseline])[0]
    return cases(comparison, name, images.cases, Shown(images.explainers.get(name), images.pictures))
