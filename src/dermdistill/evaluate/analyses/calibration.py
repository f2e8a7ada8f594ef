"""Do the probabilities mean what they say, before and after each way of calibrating them?"""

import numpy as np

from dermdistill.classes import MELANOMA
from dermdistill.evaluate import calibrators
from dermdistill.evaluate.calibration import ece
from dermdistill.evaluate.comparison import CROSS_FITTED, Comparison
from dermdistill.evaluate.intervals import Difference, Figure, difference, figure
from dermdistill.evaluate.metrics import surprise
from dermdistill.evaluate.recalibration import recalibration
from dermdistill.evaluate.thresholds import divide, right_of
from dermdistill.probabilities import softmax
from dermdistill.specs import Strict

BEFORE = "before"
"""Probabilities as the model gives them, at a temperature of 1."""
USED = "used"
"""Those that all other figures of the report are of."""


class OneWay(Strict):
    """Probabilities of melanoma on the judged images."""

    brier: Figure
    log_loss: Figure
    ece: float
    """15 bins of equal mass."""
    slope: Figure
    """1 if right; below 1 the probabilities are too extreme."""
    intercept: Figure
    """0 if right; above 0 melanomas are more frequent than told."""
    gain: Difference | None
    """Log loss minus that before: below 0 it is better. None for `before` itself."""


class Calibration(Strict):
    """Every way of calibrating, by model."""

    fitted_on: str
    """'validation', or 'cross-fitted' where other lesions among the judged images fit those of each group."""
    models: dict[str, dict[str, OneWay]]
    """By model and way: `before`, `used`, and the methods of `dermdistill.evaluate.calibrators`."""


def calibration(comparison: Comparison) -> Calibration:
    """Fit every method where it may be fitted, and judge it on the judged images."""
    models = {}
    for name in comparison.models:
        ways = {BEFORE: _before(comparison, name), USED: comparison.scored[name].p, **_fitted(comparison, name)}
        base = _losses(comparison, ways[BEFORE])
        models[name] = {way: _one_way(comparison, p, None if way == BEFORE else base) for way, p in ways.items()}
    return Calibration(fitted_on=comparison.chosen_on, models=models)


def _before(comparison: Comparison, name: str) -> np.ndarray:
    model = comparison.models[name]
    return softmax(model.logits(comparison.table["image_id"]))[:, model.classes.index(MELANOMA)]


def _fitted(comparison: Comparison, name: str) -> dict[str, np.ndarray]:
    """The probabilities [N] of each method; none of a bundle, which is judged as it is."""
    model, table = comparison.models[name], comparison.table
    if model.chosen is not None:
        return {}
    logits = model.logits(table["image_id"])
    melanoma = model.classes.index(MELANOMA)
    if comparison.chosen_on == CROSS_FITTED:
        right = right_of(model.classes, table)
        parts = divide(table["melanoma"].to_numpy(int), comparison.cluster, comparison.spec.seed)
        sources = [(logits[others], right[others], part) for others, part in parts]
    else:
        images = comparison.validation.loc[model.ids("validation")]
        known = model.logits(images["image_id"])
        sources = [(known, right_of(model.classes, images), np.arange(len(table)))]
    found = {method: np.empty(len(table)) for method in calibrators.METHODS}
    for seen, right, part in sources:
        if right[:, melanoma].all() or not right[:, melanoma].any():
            return {}  # one class alone calibrates nothing
        for method, p in found.items():
            p[part] = calibrators.fit(method, seen, right, melanoma, comparison.chosen_on)(logits[part])
    return found


def _losses(comparison: Comparison, p: np.ndarray) -> np.ndarray:
    """The log loss in every replicate, [R]."""
    weights = comparison.weights
    return weights @ surprise(p, comparison.table["melanoma"].to_numpy(float)) / weights.sum(axis=1)


def _one_way(comparison: Comparison, p: np.ndarray, before: np.ndarray | None) -> OneWay:
    y, weights = comparison.table["melanoma"].to_numpy(float), comparison.weights
    losses, fitted = _losses(comparison, p), recalibration(p, y, comparison.cluster)
    return OneWay(
        brier=figure(weights @ (p - y) ** 2 / weights.sum(axis=1), "no images"),
        log_loss=figure(losses, "no images"),
        ece=ece(p, y),
        slope=fitted.slope,
        intercept=fitted.intercept,
        gain=None if before is None else difference(losses, before),
    )
