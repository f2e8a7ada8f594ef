"""Lesion-clustered bootstrap: 95 % percentile intervals and paired differences.

Images of one lesion are not independent, so whole lesions are drawn with replacement. All models share the same
draws, so that a difference between two of them is paired. The draws are not stratified: how many melanomas a
replicate holds varies, as it would with other lesions from the same sources.

Sources: Efron and Tibshirani, "An introduction to the bootstrap" (1993), chapter 13; Davison and Hinkley, "Bootstrap
methods and their application" (1997), section 3.8 for clusters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from dermdistill.data.splits import groups
from dermdistill.evaluate.metrics import METRICS, Scored

_BLOCK = 250


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % interval; None with a reason where it is undefined."""

    value: float | None
    low: float | None
    high: float | None
    undefined: int = 0
    """Replicates in which it was undefined."""
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Counted(Figure):
    """A figure with the number of images and of melanomas that it is of."""

    n: int
    positives: int


@dataclass(frozen=True)
class Difference:
    """A paired difference with its 95 % interval and two-sided bootstrap p value."""

    value: float | None
    low: float | None
    high: float | None
    p: float | None
    """Twice the smaller share of replicates that are not on one side of zero, 2 (k + 1) / (R + 1), at most 1."""
    undefined: int = 0
    """Replicates in which it was undefined."""
    reason: str | None = None


def clusters(table: pd.DataFrame) -> np.ndarray:
    """Number the clusters of images, int64 [N]: linked by lesion, photograph or as duplicates.

    The copy of an image in another source, where its lesion is not known, so falls to the lesion's cluster.
    """
    return groups(table.assign(patient_id=None))


def resamples(cluster: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    """How often each image counts in each replicate, float32 [R, N]; the first row is all ones.

    Args:
        cluster: [N].
        replicates: R - 1 draws of as many clusters as there are, with replacement.
        seed: of the draws.
    """
    count = int(cluster.max()) + 1
    generator = np.random.default_rng(seed)
    weights = np.ones((replicates + 1, len(cluster)), np.float32)
    for start in range(0, replicates, _BLOCK):  # the draws themselves are int64: never hold all of them
        size = min(_BLOCK, replicates - start)
        drawn = generator.multinomial(count, np.full(count, 1 / count), size=size)
        weights[start + 1 : start + 1 + size] = drawn[:, cluster]
    return weights


def in_blocks(metric: Callable[[np.ndarray], np.ndarray], weights: np.ndarray) -> np.ndarray:
    """A metric of weights [R, N] to [R], computed for a block of replicates at a time to bound the memory."""
    blocks = range(0, len(weights), _BLOCK)
    return np.concatenate([metric(weights[start : start + _BLOCK].astype(np.float64)) for start in blocks])


def all_figures(scored: Scored, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric in every replicate, {name: [R]}; the first entry is that of the images as they are."""
    return {name: in_blocks(partial(metric, scored), weights) for name, metric in METRICS.items()}


def figure(values: np.ndarray, reason: str) -> Figure:
    """Value and interval from a metric's replicates; `reason` says why it is undefined, if it is."""
    drawn = values[1:][np.isfinite(values[1:])]
    undefined = len(values) - 1 - len(drawn)
    if not np.isfinite(values[0]):
        return Figure(None, None, None, undefined, reason)
    why = _no_interval(len(drawn), undefined)
    if why:
        return Figure(float(values[0]), None, None, undefined, why)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Figure(float(values[0]), float(low), float(high), undefined)


def difference(values: np.ndarray, baseline: np.ndarray) -> Difference:
    """The paired difference of two models' replicates of one metric."""
    gap = values - baseline
    drawn = gap[1:][np.isfinite(gap[1:])]
    undefined = len(gap) - 1 - len(drawn)
    if not np.isfinite(gap[0]):
        return Difference(None, None, None, None, undefined, "undefined for one of the two")
    why = _no_interval(len(drawn), undefined)
    if why:
        return Difference(float(gap[0]), None, None, None, undefined, why)
    low, high = np.percentile(drawn, [2.5, 97.5])
    against = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p = min(1.0, 2 * (against + 1) / (len(drawn) + 1))
    return Difference(float(gap[0]), float(low), float(high), p, undefined)


def _no_interval(defined: int, undefined: int) -> str | None:
    """Why replicates give no interval: those left would be a selection, not a sample."""
    if defined > undefined:
        return None
    return f"no interval: undefined in {undefined} of {defined + undefined} replicates"
