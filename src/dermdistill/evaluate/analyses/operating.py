"""What the thresholds mean elsewhere: predictive values at other prevalences, and beside human readers."""

from functools import partial

import numpy as np

from dermdistill.evaluate.comparison import Comparison, Judged
from dermdistill.evaluate.intervals import Figure, figure
from dermdistill.evaluate.spec import DERMATOLOGIST, Readers
from dermdistill.evaluate.thresholds import realised_weighted
from dermdistill.specs import Strict

POINTS = ("sensitivity_95", "specificity_90", DERMATOLOGIST)


class Elsewhere(Strict):
    """A threshold where another share of the lesions are melanomas."""

    prevalence: float
    ppv: Figure
    npv: Figure
    number_needed: Figure
    """Lesions above the threshold for each melanoma among them: to biopsy, if all of them are."""


class Point(Strict):
    """One threshold of one model on the judged images. What it realises on them is in `models`."""

    flagged: Figure
    """Share of all images at or above it."""
    elsewhere: list[Elsewhere]


class Operating(Strict):
    """Thresholds that were chosen on other images than those judged."""

    readers: Readers
    """The point 'dermatologist' has at least their sensitivity on the images that chose it; their specificity is to be
    compared with the model's there, with care: they judged other images."""
    prevalence: float
    """Share of melanomas among the judged images."""
    prevalences: tuple[float, ...]
    models: dict[str, dict[str, Point]]


def operating(comparison: Comparison) -> Operating:
    """Thresholds of each model at other prevalences."""
    spec = comparison.spec
    return Operating(
        readers=spec.readers,
        prevalence=float(comparison.table["melanoma"].mean()),
        prevalences=spec.prevalence,
        models={
            name: {
                point: _point(judged, point, comparison.weights, spec.prevalence)
                for point in POINTS
                if point in judged.thresholds
            }
            for name, judged in comparison.judged.items()
        },
    )


def _point(judged: Judged, point: str, weights: np.ndarray, prevalences: tuple[float, ...]) -> Point:
    scored, threshold = judged.scored, judged.thresholds[point]
    flagged = weights @ (scored.p >= threshold) / weights.sum(axis=1)
    rates = realised_weighted(scored.p, scored.y, threshold, weights) if prevalences else {}
    return Point(
        flagged=figure(flagged, "no images"),
        elsewhere=[_elsewhere(rates["sensitivity"], rates["specificity"], share) for share in prevalences],
    )


def _elsewhere(sensitivity: np.ndarray, specificity: np.ndarray, prevalence: float) -> Elsewhere:
    of = predictive_values(sensitivity, specificity, prevalence)
    why = partial(_why, np.isfinite(sensitivity[0]) and np.isfinite(specificity[0]))
    return Elsewhere(
        prevalence=prevalence,
        ppv=figure(of["ppv"], why("no image reaches the threshold")),
        npv=figure(of["npv"], why("all images reach the threshold")),
        number_needed=figure(of["number_needed"], why("no melanoma reaches the threshold")),
    )


def _why(known: bool, otherwise: str) -> str:
    return otherwise if known else "needs melanomas and others among the images"


def predictive_values(
    sensitivity: np.ndarray, specificity: np.ndarray, prevalence: float
) -> dict[str, np.ndarray]:  # fmt: skip
    """Bayes' rule: ppv, npv and number needed to biopsy, each [R], NaN where undefined.

    Args:
        sensitivity: [R], 0 to 1.
        specificity: [R], 0 to 1.
        prevalence: the share of melanomas, between 0 and 1.
    """
    found, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    missed, right = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)

    def share(part: np.ndarray, rest: np.ndarray) -> np.ndarray:
        return np.divide(part, part + rest, out=np.full(len(part), np.nan), where=part + rest > 0)

    needed = np.divide(found + false, found, out=np.full(len(found), np.nan), where=found > 0)
    return {"ppv": share(found, false), "npv": share(right, missed), "number_needed": needed}
