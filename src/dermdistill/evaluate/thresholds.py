"""Operating points: chosen on validation images, then only applied."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from dermdistill.classes import CLASSES, MELANOMA
from dermdistill.evaluate.calibration import fit_temperature, softmax


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


@dataclass(frozen=True)
class Chosen:
    """What a model's validation images decide."""

    temperature: float
    fitted_on: str
    """'diagnosis', or 'melanoma' where the diagnoses are not all known or not the model's classes."""
    thresholds: dict[str, Threshold]


def choose(logits: np.ndarray, classes: tuple[str, ...], images: pd.DataFrame) -> Chosen:
    """Fit the temperature and choose the operating points on validation images.

    Args:
        logits: [N, C], columns as in `classes`.
        classes: the model's classes, melanoma among them.
        images: the manifest's rows [N] of the same images: diagnosis and melanoma.
    """
    melanoma = classes.index(MELANOMA)
    y = images["melanoma"].to_numpy(int)
    if classes == CLASSES and images["diagnosis"].notna().all():
        fitted_on = "diagnosis"
        temperature = fit_temperature(logits, diagnosis_codes(images))
    else:
        fitted_on = "melanoma"
        temperature = fit_temperature(logits, y, positive=melanoma)
    return Chosen(temperature, fitted_on, operating_points(softmax(logits, temperature)[:, melanoma], y))


def diagnosis_codes(images: pd.DataFrame) -> np.ndarray:
    """Index in `CLASSES` of each image's diagnosis, int [N]; -1 where it is not known."""
    return pd.Categorical(images["diagnosis"], categories=CLASSES).codes.astype(int)


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
        else Threshold(None, None, None, n, positives, "even the highest score alone lets too many others through")
        for name, index in chosen.items()
    }


def _last(mask: np.ndarray) -> int | None:
    found = np.flatnonzero(mask)
    return int(found[-1]) if len(found) else None


def realised(p: np.ndarray, y: np.ndarray, value: float) -> dict[str, float | None]:
    """What a threshold gives on other images: sensitivity, specificity, ppv, npv; None where undefined."""
    rates = realised_weighted(p, y, value, np.ones((1, len(p))))
    return {name: float(rate[0]) if np.isfinite(rate[0]) else None for name, rate in rates.items()}


def realised_weighted(p: np.ndarray, y: np.ndarray, value: float, weights: np.ndarray) -> dict[str, np.ndarray]:
    """`realised` for several weightings [R, N] of the same images, each [R]; NaN where undefined.

    Predictive values depend on how frequent melanomas are among the images.
    """
    positive, truth = np.asarray(p) >= value, np.asarray(y).astype(bool)

    def share(part: np.ndarray, of: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return (weights @ (part & of)) / (weights @ of)

    return {
        "sensitivity": share(positive, truth),
        "specificity": share(~positive, ~truth),
        "ppv": share(truth, positive),
        "npv": share(~truth, ~positive),
    }
