"""Lesion-clustered bootstrap: 95 % percentile intervals and paired differences.

Images of one lesion are not independent, so whole lesions are drawn with replacement. All models share the same
draws, so that a difference between two of them is paired.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dermdistill.evaluate.metrics import METRICS, Scored


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % interval; None with a reason where it is undefined."""

    value: float | None
    low: float | None
    high: float | None
    undefined: int = 0
    """Replicates in which it was undefined."""
    reason: str | None = None


@dataclass(frozen=True)
class Difference:
    """A paired difference with its 95 % interval and two-sided bootstrap p value."""

    value: float | None
    low: float | None
    high: float | None
    p: float | None
    """Twice the smaller share of replicates on either side of zero, at least 1 / replicates."""
    reason: str | None = None


def clusters(table: pd.DataFrame) -> np.ndarray:
    """The cluster of each image, int64 [N]: its lesion within its source, else its duplicates, else itself."""
    lesion = (table["source"].astype(str) + "/" + table["lesion_id"].astype("string")).where(table["lesion_id"].notna())
    names = lesion.fillna("group " + table["duplicate_group"].astype("string")).fillna("image " + table["image_id"])
    return pd.factorize(names)[0].astype(np.int64)


def resamples(cluster: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    """How often each image counts in each replicate, float32 [R, N]; the first row is all ones.

    Args:
        cluster: [N].
        replicates: R - 1 draws of as many clusters as there are, with replacement.
        seed: of the draws.
    """
    count = int(cluster.max()) + 1
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=replicates)
    return np.vstack([np.ones(len(cluster), np.float32), drawn[:, cluster].astype(np.float32)])


def all_figures(scored: Scored, weights: np.ndarray, block: int = 250) -> dict[str, np.ndarray]:
    """Every metric in every replicate, {name: [R]}; the first entry is that of the images as they are."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in METRICS}
    for start in range(0, len(weights), block):
        rows = weights[start : start + block].astype(np.float64)
        for name, metric in METRICS.items():
            parts[name].append(metric(scored, rows))
    return {name: np.concatenate(values) for name, values in parts.items()}


def figure(values: np.ndarray, reason: str) -> Figure:
    """Value and interval from a metric's replicates; `reason` says why it is undefined, if it is."""
    if not np.isfinite(values[0]):
        return Figure(None, None, None, int((~np.isfinite(values[1:])).sum()), reason)
    drawn = values[1:][np.isfinite(values[1:])]
    if len(drawn) < 0.5 * (len(values) - 1) or len(drawn) == 0:
        return Figure(float(values[0]), None, None, len(values) - 1 - len(drawn), "undefined in most replicates")
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Figure(float(values[0]), float(low), float(high), len(values) - 1 - len(drawn))


def difference(values: np.ndarray, baseline: np.ndarray) -> Difference:
    """The paired difference of two models' replicates of one metric."""
    gap = values - baseline
    if not np.isfinite(gap[0]):
        return Difference(None, None, None, None, "undefined for one of the two")
    drawn = gap[1:][np.isfinite(gap[1:])]
    if len(drawn) == 0:
        return Difference(float(gap[0]), None, None, None, "undefined in every replicate")
    low, high = np.percentile(drawn, [2.5, 97.5])
    side = min(float((drawn <= 0).mean()), float((drawn >= 0).mean()))
    return Difference(float(gap[0]), float(low), float(high), min(1.0, max(2 * side, 1 / len(drawn))))
