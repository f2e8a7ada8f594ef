"""The figures of each model: what it is, its metrics, and what its thresholds give."""

from dataclasses import asdict

import numpy as np
from pydantic import Field

from dermdistill.evaluate.analyses.subgroups import Drawn, subgroups
from dermdistill.evaluate.calibration import ece_if_calibrated
from dermdistill.evaluate.comparison import Comparison, Judged
from dermdistill.evaluate.intervals import Counted, Figure, figure
from dermdistill.evaluate.metrics import LABELS, SEVEN_CLASS, Scored, auroc
from dermdistill.evaluate.predictions import ModelPredictions, Provenance
from dermdistill.evaluate.thresholds import Threshold, realised_weighted


class Model(Provenance):
    """One model on the judged images."""

    classes: tuple[str, ...]
    temperature: float
    temperature_fitted_on: str
    thresholds: dict[str, Threshold]
    """By operating point."""
    realised: dict[str, dict[str, Figure]]
    """Sensitivity, specificity, ppv, npv and number needed to biopsy on the judged images, by operating point."""
    metrics: dict[str, Counted]
    ece_if_calibrated: float
    parts: dict[str, float | None] = Field(default_factory=dict)
    """The AUROC of each part of a cross-validation alone."""
    subgroups: dict[str, Counted]
    """Melanoma AUROC, by subgroup."""


def headline(comparison: Comparison, drawn: dict[str, dict[str, Drawn]]) -> dict[str, Model]:
    """Each model's figures.

    Args:
        comparison: the models and the judged images.
        drawn: what `dermdistill.evaluate.analyses.subgroups.draw` gave for each model.
    """
    return {name: _model(comparison, name, subgroups(drawn[name])) for name in comparison.models}


def _model(comparison: Comparison, name: str, groups: dict[str, Counted]) -> Model:
    model, judged, figures = comparison.models[name], comparison.judged[name], comparison.figures[name]
    chosen, scored = judged.chosen, judged.scored
    return Model(
        **model.provenance.model_dump(),
        classes=model.classes,
        temperature=chosen.temperature,
        temperature_fitted_on=chosen.fitted_on,
        thresholds=chosen.thresholds,
        realised=_realised(judged, comparison.weights),
        metrics={key: _metric(key, figures[key], scored, model.classes) for key in LABELS},
        ece_if_calibrated=ece_if_calibrated(scored.p),
        parts=_parts(model, comparison, scored),
        subgroups=groups,
    )


def _metric(key: str, values: np.ndarray, scored: Scored, classes: tuple[str, ...]) -> Counted:
    """A figure with the number of images and melanomas that it is of."""
    of = np.ones(len(scored.y), bool)
    reason = f"needs melanomas and others among the images, got {int(scored.y.sum())} of {len(scored.y)}"
    if key in SEVEN_CLASS:
        of = scored.diagnosis >= 0 if scored.diagnosis is not None else ~of
        reason = "no image has a known diagnosis"
        if scored.predicted is None:
            reason = f"the model tells {', '.join(classes)} apart, not the seven classes"
    return Counted(**asdict(figure(values, reason)), n=int(of.sum()), positives=int(scored.y[of].sum()))


def _realised(judged: Judged, weights: np.ndarray) -> dict[str, dict[str, Figure]]:
    reasons = {
        "sensitivity": "no melanoma among the images", "specificity": "only melanomas among the images",
        "ppv": "no image reaches the threshold", "npv": "all images reach the threshold",
        "number_needed": "no melanoma reaches the threshold",
    }  # fmt: skip
    found = {}
    for name, point in judged.chosen.thresholds.items():
        if point.value is not None and name in judged.thresholds:
            rates = realised_weighted(judged.scored.p, judged.scored.y, judged.thresholds[name], weights)
            found[name] = {key: figure(rate, reasons[key]) for key, rate in rates.items()}
    return found


def _parts(model: ModelPredictions, comparison: Comparison, scored: Scored) -> dict[str, float | None]:
    """The AUROC of each part of a cross-validation alone: how much one training differs from the next."""
    if "part" not in model.table:
        return {}
    part = model.table.set_index("image_id")["part"].loc[comparison.table["image_id"]].to_numpy()
    found = {}
    for name in sorted(set(part)):
        of = part == name
        value = float(auroc(Scored(scored.p[of], scored.y[of], None, None), np.ones((1, int(of.sum()))))[0])
        found[name] = value if np.isfinite(value) else None
    return found
