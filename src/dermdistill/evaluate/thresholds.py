"""Operating points: chosen on validation images, then only applied."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_curve


@dataclass(frozen=True)
class Threshold:
    """At or above `value` an image counts as positive."""

    value: float | None
    sensitivity: float | None
    specificity: float | None
    n: int
    positives: int
    reason: str | None = None
    """Why there is no value."""


def operating_points(p: np.ndarray, y: np.ndarray) -> dict[str, Threshold]:
    """Thresholds for common aims.

    'sensitivity_90' and '_95' are the highest thresholds with at least that sensitivity, 'specificity_90' and
    '_95' the lowest with at least that specificity, 'youden' the one with the largest sum of both.

    Args:
        p: probabilities [N].
        y: labels 0/1 [N].
    """
    p, y = np.asarray(p, float), np.asarray(y).astype(int)
    n, positives = len(y), int(y.sum())
    names = ("sensitivity_90", "sensitivity_95", "specificity_90", "specificity_95", "youden")
    if not 0 < positives < n:
        why = f"needs positives and negatives, got {positives} positives of {n}"
        return {name: Threshold(None, None, None, n, positives, why) for name in names}
    false_positive, sensitivity, values = roc_curve(y, p, drop_intermediate=False)
    specificity = 1 - false_positive
    usable = np.isfinite(values)
    chosen = {
        "sensitivity_90": np.flatnonzero(usable & (sensitivity >= 0.90))[0],
        "sensitivity_95": np.flatnonzero(usable & (sensitivity >= 0.95))[0],
        "specificity_90": _last(usable & (specificity >= 0.90)),
        "specificity_95": _last(usable & (specificity >= 0.95)),
        "youden": int(np.argmax(np.where(usable, sensitivity + specificity, -1))),
    }
    return {
        name: Threshold(float(values[index]), float(sensitivity[index]), float(specificity[index]), n, positives)
        if index is not None
        else Threshold(None, None, None, n, positives, "no threshold reaches it")
        for name, index in chosen.items()
    }


def _last(mask: np.ndarray) -> int | None:
    found = np.flatnonzero(mask)
    return int(found[-1]) if len(found) else None


def realised(p: np.ndarray, y: np.ndarray, value: float) -> dict[str, float | None]:
    """What a threshold gives on other images: sensitivity, specificity, ppv, npv; None where undefined."""
    positive, truth = np.asarray(p) >= value, np.asarray(y).astype(bool)

    def share(part: np.ndarray, of: np.ndarray) -> float | None:
        return float((part & of).sum() / of.sum()) if of.any() else None

    return {
        "sensitivity": share(positive, truth),
        "specificity": share(~positive, ~truth),
        "ppv": share(truth, positive),
        "npv": share(~truth, ~positive),
    }
