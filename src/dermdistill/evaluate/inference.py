"""Tests of two models on the same images: DeLong with clusters, McNemar, Holm's correction."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, norm, rankdata

Z = float(norm.ppf(0.975))
"""Standard errors on either side of a 95 % interval."""


@dataclass(frozen=True)
class Areas:
    """AUROCs of several models on the same images."""

    values: np.ndarray
    """[M]."""
    covariance: np.ndarray
    """[M, M]; NaN where there are fewer than two clusters with melanomas or with others."""


def auroc_covariance(y: np.ndarray, scores: np.ndarray, cluster: np.ndarray) -> Areas:
    """AUROCs with the covariance that drawing other clusters would give them.

    Where each image is a cluster by itself, it is that of DeLong et al., "Comparing the areas under two or more
    correlated receiver operating characteristic curves", Biometrics 44 (1988) 837-845. Images of one lesion are not
    independent; for them Obuchowski, "Nonparametric analysis of clustered ROC curve data", Biometrics 53 (1997)
    567-578.

    Args:
        y: melanoma 0/1 [N], both present.
        scores: [M, N].
        cluster: int [N]; images with the same number belong together.
    """
    truth = np.asarray(y).astype(bool)
    count, others = int(truth.sum()), int((~truth).sum())
    found = [_placements(truth, np.asarray(one, float)) for one in scores]
    values = np.array([of[truth].mean() for of in found])
    number = np.unique(cluster, return_inverse=True)[1].reshape(-1)
    clusters = int(number.max()) + 1

    def sums(mask: np.ndarray) -> tuple[np.ndarray, int]:
        """How far each cluster's placements lie from what the area promises, [M, clusters]; how many clusters count."""
        far = [np.bincount(number[mask], of[mask] - value, clusters) for of, value in zip(found, values, strict=True)]
        return np.stack(far), len(np.unique(number[mask]))

    (up, with_melanomas), (down, with_others) = sums(truth), sums(~truth)
    if min(with_melanomas, with_others) < 2:
        return Areas(values, np.full((len(values), len(values)), np.nan))
    covariance = (
        with_melanomas / (with_melanomas - 1) * (up @ up.T) / count**2
        + with_others / (with_others - 1) * (down @ down.T) / others**2
        + clusters / (clusters - 1) * (up @ down.T + down @ up.T) / (count * others)
    )
    return Areas(values, covariance)


def _placements(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Of each melanoma the share of others below it, of each other the share of melanomas above it, [N]; ties half.

    By midranks: Sun and Xu, "Fast implementation of DeLong's algorithm", IEEE Signal Processing Letters 21 (2014).
    """
    ranks = rankdata(scores)
    found = np.empty(len(scores))
    for mask, sign in ((truth, 1), (~truth, -1)):
        below = (ranks[mask] - rankdata(scores[mask])) / (~mask).sum()
        found[mask] = below if sign > 0 else 1 - below
    return found


@dataclass(frozen=True)
class Contrast:
    """A difference of two AUROCs with its standard error."""

    value: float
    error: float

    @property
    def low(self) -> float:
        """The lower end of the 95 % interval."""
        return self.value - Z * self.error

    @property
    def high(self) -> float:
        """The upper end of the 95 % interval."""
        return self.value + Z * self.error

    @property
    def p(self) -> float:
        """Two-sided p value of no difference."""
        return _tail(-abs(self.value), self.error, 2)

    def p_above(self, bound: float) -> float:
        """One-sided p value of a difference that is not larger than `bound`."""
        return _tail(bound - self.value, self.error, 1)


def _tail(below: float, error: float, sides: int) -> float:
    if error > 0:
        return min(1.0, sides * float(norm.cdf(below / error)))
    return 0.0 if below < 0 else 1.0


def contrast(areas: Areas, model: int, baseline: int) -> Contrast | None:
    """The area of one model minus that of another; None if the covariance is not known."""
    weights = np.zeros(len(areas.values))
    weights[model] += 1
    weights[baseline] -= 1
    variance = float(weights @ areas.covariance @ weights)
    if not np.isfinite(variance):
        return None
    # of models that agree on everything the variance is zero but for rounding
    error = float(np.sqrt(variance)) if variance > 1e-18 else 0.0
    return Contrast(float(weights @ areas.values), error)


def mcnemar(first: int, second: int) -> tuple[float, float]:
    """Exact and mid-p two-sided p values of two counts that should be alike: right by one model alone, by the other.

    Source: Fagerland, Lydersen and Laake, "The McNemar test for binary matched-pairs data: mid-p and asymptotic are
    better than exact conditional", BMC Med Res Methodol 13 (2013) 91.
    """
    smaller, both = min(first, second), first + second
    if both == 0:
        return 1.0, 1.0
    exact = min(1.0, 2 * float(binom.cdf(smaller, both, 0.5)))
    if first == second:
        return exact, 1 - float(binom.pmf(smaller, both, 0.5))
    return exact, 2 * float(binom.cdf(smaller, both, 0.5)) - float(binom.pmf(smaller, both, 0.5))


def holm(p: Sequence[float]) -> list[float]:
    """P values adjusted for the number of comparisons, in their order.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scand J Statist 6 (1979) 65-70.
    """
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    largest = 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - place) * float(p[index])))
        adjusted[index] = largest
    return adjusted.tolist()
