"""Operating points: chosen on some images, then only applied to others."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve
from sklearn.model_selection import StratifiedGroupKFold

from dermdistill.classes import CLASSES, MELANOMA
from dermdistill.errors import InputError
from dermdistill.evaluate import calibrators
from dermdistill.evaluate.calibration import fit_temperature
from dermdistill.probabilities import Method, softmax

PARTS = 5
"""In how many parts judged images are divided, where no others choose."""
NOTHING = "nothing"
"""What the temperature was fitted on, if it was given."""


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
    """'diagnosis'; 'melanoma' where the diagnoses are not all known or not the model's classes; or 'nothing'."""
    thresholds: dict[str, Threshold]
    calibrated: calibrators.Fitted | None = None
    """What stands in place of the temperature, which is then 1."""


NO_MORE: Mapping[str, float] = MappingProxyType({})


def choose(
    logits: np.ndarray,
    classes: tuple[str, ...],
    images: pd.DataFrame,
    temperature: float | None = None,
    also: Mapping[str, float] = NO_MORE,
) -> Chosen:
    """Fit the temperature and choose the operating points on validation images.

    Args:
        logits: [N, C], columns as in `classes`.
        classes: the model's classes, melanoma among them.
        images: the manifest's rows [N] of the same images: diagnosis and melanoma.
        temperature: of probabilities that are taken as they are; by default it is fitted.
        also: further operating points, the least sensitivity of each by its name.
    """
    melanoma = classes.index(MELANOMA)
    y = images["melanoma"].to_numpy(int)
    if temperature is not None:
        fitted_on = NOTHING
    elif classes == CLASSES and images["diagnosis"].notna().all():
        fitted_on = "diagnosis"
        temperature = fit_temperature(logits, diagnosis_codes(images))
    else:
        fitted_on = "melanoma"
        temperature = fit_temperature(logits, y, positive=melanoma)
    return Chosen(temperature, fitted_on, operating_points(softmax(logits, temperature)[:, melanoma], y, also))


def choose_calibrated(
    logits: np.ndarray, classes: tuple[str, ...], images: pd.DataFrame, method: Method, role: str
) -> Chosen:
    """Fit a calibration of any method, and choose the operating points on the probabilities after it.

    Both use the same images, as they do with a temperature. Sensitivity and specificity of the points are therefore a
    little too good, the more so the more parameters the method has; what they are elsewhere, only other images tell.

    An isotonic calibration gives many images one probability, which float32 rounds in another way than float64.
    Thresholds of methods other than a temperature therefore lie halfway to the next lower probability of these images.

    Args:
        logits: [N, C], columns as in `classes`.
        classes: the model's classes, melanoma among them.
        images: the manifest's rows [N] of the same images: diagnosis and melanoma.
        method: how to calibrate.
        role: what the images are, as for `calibrators.fit`.

    Raises:
        InputError: images that must not be fitted on, or of which all or none are melanomas.
    """
    calibrators.require_role(role)
    y, melanoma = images["melanoma"].to_numpy(int), classes.index(MELANOMA)
    if method == "temperature":
        return choose(logits, classes, images)
    if not 0 < y.sum() < len(y):
        raise InputError(f"calibration needs melanomas and others, got {y.sum()} melanomas of {len(y)} images")
    right = right_of(classes, images)
    fitted = calibrators.fit(method, logits, right, melanoma, role)
    p = fitted(logits)
    points = {name: _halfway(point, p) for name, point in operating_points(p, y).items()}
    return Chosen(1.0, "melanoma" if (right.sum(axis=1) > 1).any() else "diagnosis", points, fitted)


def _halfway(point: Threshold, p: np.ndarray) -> Threshold:
    """The same decisions about probabilities [N], with a threshold that is none of them."""
    if point.value is None:
        return point
    return replace(point, value=float(point.value + p[p < point.value].max(initial=0.0)) / 2)


def right_of(classes: tuple[str, ...], images: pd.DataFrame) -> np.ndarray:
    """Which of the classes are right for each of the manifest's rows, bool [N, C], as `calibrators.right_classes`."""
    if classes == CLASSES and images["diagnosis"].notna().all():
        codes = diagnosis_codes(images)
        if (codes >= 0).all():
            return calibrators.right_classes(len(classes), codes, None)
    labels = images["melanoma"].to_numpy(int)
    return calibrators.right_classes(len(classes), labels, classes.index(MELANOMA))


@dataclass(frozen=True)
class Applied:
    """Probabilities and thresholds of judged images, none of which chose its own."""

    probabilities: np.ndarray
    """[N, C], calibrated."""
    thresholds: dict[str, np.ndarray]
    """Of each operating point, the threshold of each image [N]; points that could not be chosen are left out."""


def apply_chosen(chosen: Chosen, logits: np.ndarray) -> Applied:
    """Calibrate the logits [N, C] of judged images with what validation images chose."""
    values = {name: point.value for name, point in chosen.thresholds.items()}
    thresholds = {name: np.full(len(logits), value) for name, value in values.items() if value is not None}
    of = chosen.calibrated
    p = softmax(logits, chosen.temperature) if of is None else of.map.probabilities(logits, of.melanoma)
    return Applied(p, thresholds)


def cross_fit(
    logits: np.ndarray,
    classes: tuple[str, ...],
    images: pd.DataFrame,
    cluster: np.ndarray,
    seed: int = 0,
    temperature: float | None = None,
    also: Mapping[str, float] = NO_MORE,
) -> Applied:
    """Where there are no validation images: divide the judged ones in parts, and let the others choose for each.

    Args:
        logits: [N, C], columns as in `classes`.
        classes: the model's classes, melanoma among them.
        images: the manifest's rows [N] of the same images.
        cluster: [N]; images with the same number stay in one part.
        seed: of the division.
        temperature: as in `choose`.
        also: as in `choose`.

    Raises:
        InputError: too few clusters to divide.
    """
    probabilities = np.empty(logits.shape)
    thresholds: dict[str, np.ndarray] = {}
    for others, part in divide(images["melanoma"].to_numpy(int), cluster, seed):
        applied = apply_chosen(choose(logits[others], classes, images.iloc[others], temperature, also), logits[part])
        probabilities[part] = applied.probabilities
        for name, values in applied.thresholds.items():
            thresholds.setdefault(name, np.full(len(images), np.nan))[part] = values
    whole = {name: values for name, values in thresholds.items() if np.isfinite(values).all()}
    return Applied(probabilities, whole)


def divide(melanoma: np.ndarray, cluster: np.ndarray, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Divide judged images in parts that share no cluster: of each the numbers of the other rows, and its own.

    Args:
        melanoma: 0/1 [N]; the parts hold about as many of each.
        cluster: [N]; images with the same number stay in one part.
        seed: of the division.

    Raises:
        InputError: too few clusters to divide.
    """
    count = len(np.unique(cluster))
    if count < PARTS:
        raise InputError(f"without validation images {PARTS} groups of lesions are needed, there are {count}")
    divider = StratifiedGroupKFold(PARTS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        return list(divider.split(np.zeros(len(melanoma)), melanoma, cluster))


def diagnosis_codes(images: pd.DataFrame) -> np.ndarray:
    """Index in `CLASSES` of each image's diagnosis, int [N]; -1 where it is not known."""
    return pd.Categorical(images["diagnosis"], categories=CLASSES).codes.astype(int)


def operating_points(p: np.ndarray, y: np.ndarray, also: Mapping[str, float] = NO_MORE) -> dict[str, Threshold]:
    """Thresholds for common aims.

    'sensitivity_90' and '_95' are the highest thresholds with at least that sensitivity, 'specificity_90' and
    '_95' the lowest with at least that specificity, 'youden' the one with the largest sum of both.

    Args:
        p: probabilities [N].
        y: labels 0/1 [N].
        also: further points; of each name the highest threshold with at least that sensitivity, 0 to 1.
    """
    p, y = np.asarray(p, float), np.asarray(y).astype(int)
    n, positives = len(y), int(y.sum())
    names = ("sensitivity_90", "sensitivity_95", "specificity_90", "specificity_95", "youden", *also)
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
        **{name: np.flatnonzero(usable & (sensitivity >= least))[0] for name, least in also.items()},
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
    """What a threshold gives on other images, as `realised_weighted`; None where undefined."""
    rates = realised_weighted(p, y, value, np.ones((1, len(p))))
    return {name: float(rate[0]) if np.isfinite(rate[0]) else None for name, rate in rates.items()}


def realised_weighted(
    p: np.ndarray, y: np.ndarray, value: float | np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """What a threshold gives for several weightings [R, N] of the same images, each [R]; NaN where undefined.

    Sensitivity, specificity, ppv, npv, and the number needed to biopsy, 1 / ppv: images at or above the threshold for
    each melanoma among them. The threshold may be another for each image [N]. Predictive values depend on how frequent
    melanomas are.
    """
    positive, truth = np.asarray(p) >= value, np.asarray(y).astype(bool)

    def share(part: np.ndarray, of: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return (weights @ (part & of)) / (weights @ of)

    ppv = share(truth, positive)
    return {
        "sensitivity": share(positive, truth),
        "specificity": share(~positive, ~truth),
        "ppv": ppv,
        "npv": share(~truth, ~positive),
        "number_needed": np.divide(1, ppv, out=np.full(len(weights), np.nan), where=ppv > 0),
    }
