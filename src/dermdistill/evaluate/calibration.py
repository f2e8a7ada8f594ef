"""Probabilities that mean what they say: temperature, expected calibration error, Brier score."""

import numpy as np
from scipy.optimize import minimize_scalar

from dermdistill.errors import InputError


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Class probabilities [N, C] of logits [N, C] divided by a temperature."""
    scaled = np.asarray(logits, np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that minimises the negative log-likelihood, between 0.05 and 20.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2.

    Args:
        logits: [N, C].
        labels: class indices [N].

    Raises:
        InputError: no rows, other shapes, or values that are not finite.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    if logits.ndim != 2 or len(logits) == 0 or labels.shape != (len(logits),):
        raise InputError(f"expected logits [N, C] and labels [N], N > 0; got {logits.shape} and {labels.shape}")
    if not np.isfinite(logits).all():
        raise InputError("logits must be finite")

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        top = scaled.max(axis=1)
        normaliser = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        return float((normaliser - scaled[np.arange(len(labels)), labels]).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def ece(p: np.ndarray, y: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error of a binary probability in bins of equal mass, 0 to 1.

    Args:
        p: probabilities [N].
        y: labels 0/1 [N].
        bins: number of bins.
    """
    return ece_weighted(p, y, np.ones((1, len(p))), bins)[0]


def ece_weighted(p: np.ndarray, y: np.ndarray, weights: np.ndarray, bins: int = 15) -> np.ndarray:
    """`ece` for several weightings of the same rows, [R]; the bins are those of the unweighted rows.

    Args:
        p: probabilities [N].
        y: labels 0/1 [N].
        weights: [R, N].
        bins: number of bins.
    """
    order = np.argsort(p, kind="stable")
    edges = np.linspace(0, len(p), min(bins, len(p)) + 1).astype(int)[:-1]
    gap = weights[:, order] * (np.asarray(p, float) - y)[order]
    return np.abs(np.add.reduceat(gap, edges, axis=1)).sum(axis=1) / weights.sum(axis=1)


def brier(p: np.ndarray, y: np.ndarray) -> float:
    """Mean squared difference of probability and label, 0 to 1. Source: Brier, Mon Weather Rev 78 (1950)."""
    return float(np.mean((np.asarray(p) - np.asarray(y)) ** 2))
