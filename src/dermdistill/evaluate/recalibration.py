"""Calibration slope and intercept, with intervals that hold images of one lesion together."""

from dataclasses import dataclass

import numpy as np

from dermdistill.evaluate.inference import Z
from dermdistill.evaluate.intervals import Figure

_TINY = 1e-12
_STEPS = 50


@dataclass(frozen=True)
class Recalibration:
    """What a logistic regression of the labels on the logit of the probability finds."""

    slope: Figure
    """1 if right; below 1 the probabilities are too extreme, above 1 too timid."""
    intercept: Figure
    """Calibration in the large, with the slope held at 1: 0 if right; above 0 melanomas are more frequent than told."""


def recalibration(p: np.ndarray, y: np.ndarray, cluster: np.ndarray) -> Recalibration:
    """Slope and intercept with 95 % intervals from a sandwich estimate of the variance, clustered.

    Sources: Cox, "Two further applications of a model for binary regression", Biometrika 45 (1958); Van Calster et al.,
    "Calibration: the Achilles heel of predictive analytics", BMC Medicine 17 (2019) 230.

    Args:
        p: probabilities of melanoma [N].
        y: melanoma 0/1 [N].
        cluster: [N]; images with the same number belong together.
    """
    bounded = np.clip(np.asarray(p, float), _TINY, 1 - _TINY)
    logit = np.log(bounded) - np.log1p(-bounded)
    number = np.unique(cluster, return_inverse=True)[1].reshape(-1)
    truth = np.asarray(y, float)
    if not 0 < truth.sum() < len(truth):
        none = Figure(None, None, None, reason="needs melanomas and others among the images")
        return Recalibration(none, none)
    ones = np.ones_like(logit)
    if np.ptp(logit) > 0:
        slope = _fit(np.stack([ones, logit], axis=1), truth, np.zeros_like(logit), number, 1)
    else:
        slope = Figure(None, None, None, reason="all probabilities are the same")
    return Recalibration(slope, _fit(ones[:, None], truth, logit, number, 0))


def _fit(features: np.ndarray, y: np.ndarray, offset: np.ndarray, cluster: np.ndarray, which: int) -> Figure:
    """Newton's method; the coefficient `which` of the features [N, K]."""
    found = np.zeros(features.shape[1])
    for _ in range(_STEPS):
        p = 0.5 * (1 + np.tanh(0.5 * (features @ found + offset)))
        slope, curve = features.T @ (y - p), (features * (p * (1 - p))[:, None]).T @ features
        if not np.isfinite(curve).all() or np.linalg.cond(curve) > 1e14:
            break
        step = np.linalg.solve(curve, slope)
        step *= min(1.0, 5 / max(float(np.abs(step).max()), 1e-300))  # far from the optimum, Newton may overshoot
        found = found + step
        if np.abs(step).max() < 1e-10 * (1 + np.abs(found).max()):
            return _with_interval(features, y - p, curve, cluster, (found, which))
    return Figure(None, None, None, reason="melanomas and others do not overlap: no finite value fits")


def _with_interval(
    features: np.ndarray, gap: np.ndarray, curve: np.ndarray, cluster: np.ndarray, of: tuple[np.ndarray, int]
) -> Figure:
    found, which = of
    count = int(cluster.max()) + 1
    value = float(found[which])
    if count < 2:
        return Figure(value, None, None, reason="no interval: one lesion")
    sums = np.stack([np.bincount(cluster, column * gap, count) for column in features.T])
    inverse = np.linalg.inv(curve)
    error = float(np.sqrt((inverse @ (sums @ sums.T) @ inverse)[which, which] * count / (count - 1)))
    return Figure(value, value - Z * error, value + Z * error)
