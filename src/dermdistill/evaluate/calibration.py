"""Probabilities that mean what they say: temperature and expected calibration error."""

import numpy as np
from scipy.optimize import minimize_scalar

from dermdistill.errors import InputError


def fit_temperature(logits: np.ndarray, labels: np.ndarray, positive: int | None = None) -> float:
    """The temperature that minimises the negative log-likelihood, between 0.05 and 20.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2.

    Args:
        logits: [N, C].
        labels: class indices [N]; or 0/1 [N], if only that is known whether it is the class `positive`. The
            likelihood is then that of `positive` against all others together, after a softmax over all classes.
        positive: a class index, or None if `labels` are class indices.

    Raises:
        InputError: no rows, other shapes, labels out of range, or values that are not finite.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    if logits.ndim != 2 or len(logits) == 0 or labels.shape != (len(logits),):
        raise InputError(f"expected logits [N, C] and labels [N], N > 0; got {logits.shape} and {labels.shape}")
    if not np.isfinite(logits).all():
        raise InputError("logits must be finite")
    allowed = range(logits.shape[1] if positive is None else 2)
    if not np.isin(labels, allowed).all():
        raise InputError(f"labels must be from 0 to {allowed[-1]}, got {sorted({*labels.tolist()} - {*allowed})[:5]}")
    right = np.zeros(logits.shape, bool)
    if positive is None:
        right[np.arange(len(labels)), labels] = True
    else:
        right[:] = labels[:, None] == 0
        right[:, positive] = labels == 1

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float((_log_sum_exp(scaled) - _log_sum_exp(np.where(right, scaled, -np.inf))).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def _log_sum_exp(values: np.ndarray) -> np.ndarray:
    top = values.max(axis=1, keepdims=True)
    return (top + np.log(np.exp(values - top).sum(axis=1, keepdims=True)))[:, 0]


def bins_of(p: np.ndarray, bins: int = 15, equal_mass: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Divide probabilities into bins: the order that sorts them [N], and where in it each bin starts.

    Equal probabilities always share a bin, so that the bins do not depend on the order of the rows; there may
    then be fewer bins.
    """
    order = np.argsort(p, kind="stable")
    rising = np.asarray(p, np.float64)[order]
    cuts = rising[np.arange(bins) * len(rising) // bins] if equal_mass else np.arange(bins) / bins
    starts = np.unique(np.searchsorted(rising, cuts))
    return order, starts[starts < len(rising)]


def ece(p: np.ndarray, y: np.ndarray, bins: int = 15, equal_mass: bool = True) -> float:
    """Expected calibration error of a binary probability, 0 to 1.

    Args:
        p: probabilities [N].
        y: labels 0/1 [N].
        bins: number of bins.
        equal_mass: bins with as many images each; else of equal width, as Guo et al. have them.
    """
    return float(ece_weighted(p, y, np.ones((1, len(p))), bins, equal_mass)[0])


def ece_weighted(
    p: np.ndarray, y: np.ndarray, weights: np.ndarray, bins: int = 15, equal_mass: bool = True
) -> np.ndarray:
    """`ece` for several weightings of the same rows, [R]; the bins are those of the unweighted rows.

    Args:
        p: probabilities [N].
        y: labels 0/1 [N], or [R, N] for other labels in each weighting.
        weights: [R, N], or [1, N] for all.
        bins: number of bins.
        equal_mass: bins with as many images each; else of equal width.
    """
    order, starts = bins_of(p, bins, equal_mass)
    gap = (weights * (np.asarray(p, np.float64) - y))[:, order]
    return np.abs(np.add.reduceat(gap, starts, axis=1)).sum(axis=1) / weights.sum(axis=1)


def ece_if_calibrated(p: np.ndarray, draws: int = 200, seed: int = 0, bins: int = 15) -> float:
    """The ECE to expect on as many images if every probability were right.

    The ECE is a mean of absolute values and so never averages out to zero: read it against this one. Labels are
    drawn from the probabilities themselves.

    Source: consistency resampling, Bröcker and Smith, "Increasing the reliability of reliability diagrams",
    Weather and Forecasting 22 (2007).
    """
    y = np.random.default_rng(seed).random((draws, len(p)), np.float32) < p
    return float(ece_weighted(p, y, np.ones((1, len(p))), bins).mean())
