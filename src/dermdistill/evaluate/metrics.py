"""The figures, each for many weightings of the same images at once, so that a bootstrap is one call.

Every function takes `weights` [R, N], how often each image counts in each of R replicates, and gives [R] values,
NaN where a replicate leaves it undefined.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dermdistill.evaluate.calibration import ece_weighted

LEAST_SENSITIVITY = 0.8
"""Where the partial AUROC begins."""


@dataclass(frozen=True)
class Scored:
    """One model on some images."""

    p: np.ndarray
    """Probability of melanoma [N], calibrated."""
    y: np.ndarray
    """Melanoma 0/1 [N]."""
    predicted: np.ndarray | None
    """Most probable of seven classes [N], or None for a model that has not got them."""
    diagnosis: np.ndarray | None
    """True class [N], -1 where it is not known; None if it is known for none."""


def _curve(scored: Scored, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted true and false positives when everything from the k-th highest distinct score on is positive.

    Each [R, K]; ties are taken together.
    """
    order = np.argsort(-scored.p, kind="stable")
    ends = np.flatnonzero(np.diff(scored.p[order], append=-np.inf) != 0)
    sorted_weights, truth = weights[:, order], scored.y[order]
    return np.cumsum(sorted_weights * truth, 1)[:, ends], np.cumsum(sorted_weights * (1 - truth), 1)[:, ends]


def _rates(scored: Scored, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sensitivity and fall-out at each cut, [R, 1 + K], from nothing positive on; NaN where either is undefined."""
    true, false = _curve(scored, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity, fall_out = true / true[:, -1:], false / false[:, -1:]
    start = np.where(_has_both(true, false), 0.0, np.nan)[:, None]
    return np.hstack([start, sensitivity + start]), np.hstack([start, fall_out + start])


def _has_both(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    return (true[:, -1] > 0) & (false[:, -1] > 0)


def auroc(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of melanoma against the rest."""
    sensitivity, fall_out = _rates(scored, weights)
    heights = (sensitivity[:, 1:] + sensitivity[:, :-1]) / 2
    return (heights * np.diff(fall_out, axis=1)).sum(axis=1)


def partial_auroc(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Area between the ROC curve and a sensitivity of 80 %, 0 to 0.2; a model that knows nothing has 0.02.

    Source: the ISIC 2024 challenge's primary score (Kurtansky et al., "The SLICE-3D dataset", Sci Data 11 (2024)).
    """
    sensitivity, fall_out = _rates(scored, weights)
    low, high = sensitivity[:, :-1], sensitivity[:, 1:]
    above, top = np.maximum(low, LEAST_SENSITIVITY), np.maximum(high, LEAST_SENSITIVITY)
    with np.errstate(invalid="ignore", divide="ignore"):  # the share of each step that lies above the line
        share = np.where(high > low, (top - above) / (high - low), low >= LEAST_SENSITIVITY)
    area = (share * np.diff(fall_out, axis=1) * ((above + top) / 2 - LEAST_SENSITIVITY)).sum(axis=1)
    return np.where(np.isfinite(sensitivity[:, 0]), area, np.nan)


def average_precision(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Average precision, as scikit-learn defines it; of melanomas alone it would always be 1, and is undefined."""
    true, false = _curve(scored, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(true + false > 0, true / (true + false), 0)
        recall = true / true[:, -1:]
    area = (np.diff(recall, prepend=0, axis=1) * precision).sum(axis=1)
    return np.where(_has_both(true, false), area, np.nan)


def sensitivity_at_specificity_90(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Largest sensitivity at a specificity of at least 90 %."""
    sensitivity, fall_out = _rates(scored, weights)
    best = np.where(fall_out <= 0.1 + 1e-12, sensitivity, -np.inf).max(axis=1)
    return np.where(np.isfinite(best), best, np.nan)


def specificity_at_sensitivity_95(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Largest specificity at a sensitivity of at least 95 %."""
    sensitivity, fall_out = _rates(scored, weights)
    best = np.where(sensitivity >= 0.95 - 1e-12, 1 - fall_out, -np.inf).max(axis=1)
    return np.where(np.isfinite(best), best, np.nan)


def brier(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Brier score of the melanoma probability."""
    return weights @ (scored.p - scored.y) ** 2 / weights.sum(axis=1)


def log_loss(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Mean negative log-likelihood of the melanoma probability, in nats; 0 and 1 count as the next number to them."""
    return weights @ surprise(scored.p, scored.y) / weights.sum(axis=1)


def surprise(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The negative log-likelihood of each image [N]; probabilities are cut as scikit-learn cuts them."""
    tiny = np.finfo(np.float64).eps
    bounded = np.clip(np.asarray(p, np.float64), tiny, 1 - tiny)
    return -np.where(np.asarray(y) == 1, np.log(bounded), np.log1p(-bounded))


def ece(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Expected calibration error of the melanoma probability, 15 bins of equal mass."""
    return ece_weighted(scored.p, scored.y, weights)


def accuracy(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Share of the images with a known diagnosis whose most probable of the seven classes is the true one."""
    if scored.predicted is None or scored.diagnosis is None:
        return np.full(len(weights), np.nan)
    with np.errstate(invalid="ignore"):
        return weights @ (scored.predicted == scored.diagnosis) / (weights @ (scored.diagnosis >= 0))


def balanced_accuracy(scored: Scored, weights: np.ndarray) -> np.ndarray:
    """Mean recall of the classes that are present, in each replicate."""
    if scored.predicted is None or scored.diagnosis is None:
        return np.full(len(weights), np.nan)
    classes = np.unique(scored.diagnosis[scored.diagnosis >= 0])
    member = (scored.diagnosis[:, None] == classes).astype(float)
    right = (scored.predicted == scored.diagnosis)[:, None] * member
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = weights @ right / (weights @ member)
        return np.nansum(recall, axis=1) / np.isfinite(recall).sum(axis=1)


METRICS: dict[str, Callable[[Scored, np.ndarray], np.ndarray]] = {
    "auroc": auroc,
    "partial_auroc": partial_auroc,
    "average_precision": average_precision,
    "sensitivity_at_specificity_90": sensitivity_at_specificity_90,
    "specificity_at_sensitivity_95": specificity_at_sensitivity_95,
    "brier": brier,
    "log_loss": log_loss,
    "ece": ece,
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
}

SEVEN_CLASS = ("accuracy", "balanced_accuracy")
"""Metrics of the diagnosis; the others are of melanoma against the rest."""

LABELS = {
    "auroc": "AUROC",
    "partial_auroc": "partial AUROC above 80 % sensitivity (of 0.2)",
    "average_precision": "average precision",
    "sensitivity_at_specificity_90": "sensitivity at 90 % specificity",
    "specificity_at_sensitivity_95": "specificity at 95 % sensitivity",
    "brier": "Brier score",
    "log_loss": "log loss",
    "ece": "ECE",
    "accuracy": "seven-class accuracy",
    "balanced_accuracy": "seven-class balanced accuracy",
}
