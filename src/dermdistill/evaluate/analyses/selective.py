"""What is gained where a model may abstain: risk against coverage, and sets with a guaranteed sensitivity.

Sources: Geifman and El-Yaniv, "Selective classification for deep neural networks" (NeurIPS 2017), and Geifman, Uziel,
El-Yaniv, "Bias-reduced uncertainty estimation for deep neural classifiers" (ICLR 2019) for the area under the curve;
Vovk, "Conditional validity of inductive conformal predictors" (ACML 2012) for conformal prediction by class.
"""

from collections.abc import Sequence

import numpy as np

from dermdistill.evaluate.comparison import Comparison
from dermdistill.specs import Strict

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.5)
ALPHAS = (0.1, 0.05)
"""Shares of melanomas, and of the others, that conformal sets may miss."""
POINT = "sensitivity_95"
"""The operating point whose decisions are judged."""
HALVES = 100
"""How often the images are halved at random."""
LEAST = 10
"""Melanomas, and others, below which a source is left out."""
_SURE = 1e-9
_CURVE = 101


class Kept(Strict):
    """The decisions that are left where the least certain images are set aside."""

    coverage: float
    """Share of the images that are decided."""
    n: int
    error: float
    """Share of the decisions that are wrong."""
    sensitivity: float | None
    specificity: float | None


class Coverage(Strict):
    """How often a set holds the true class."""

    melanoma: float
    other: float
    one: float
    """Share of the images whose set names one class."""
    both: float
    neither: float
    n: int
    positives: int


class Conformal(Strict):
    """Sets that miss a class with a probability of at most alpha, where images are exchangeable."""

    alpha: float
    guaranteed: float
    """1 - alpha: at least this share of new melanomas has melanoma in its set, on average over calibrations."""
    melanoma_from: float | None
    """Sets hold melanoma from this probability on, calibrated on all judged images; None: always."""
    other_to: float | None
    """Sets hold the others up to this probability; None: always."""
    halves: Coverage | None
    """Calibrated on one half of the lesions and judged on the other, on average over random halves; None where there
    are too few lesions to be halved."""
    shifted: dict[str, Coverage]
    """By source: calibrated on all other sources. Nothing where there is one source."""


class Selective(Strict):
    """One model that may abstain."""

    point: str
    aurc: float
    """Area under the curve of the share of wrong decisions against coverage; less is better."""
    best: float
    """The same if every wrong decision were less certain than every right one."""
    curve: list[tuple[float, float]]
    """Coverage and share of wrong decisions, at most 101 points."""
    kept: list[Kept]
    conformal: list[Conformal]


def selective(comparison: Comparison) -> dict[str, Selective]:
    """What each model gains by abstaining; models without the operating point are left out.

    The certainty of a decision is how far the log-odds are from those of the threshold.

    Args:
        comparison: models on the judged images.
    """
    found = {}
    source = comparison.table["source"].to_numpy(str)
    for name, judged in comparison.judged.items():
        thresholds = judged.thresholds.get(POINT)
        y = judged.scored.y
        if thresholds is None or not 0 < y.sum() < len(y):
            continue
        p, positive = judged.scored.p, judged.scored.p >= thresholds
        certainty = np.abs(_log_odds(p) - _log_odds(thresholds))
        wrong = positive != (y == 1)
        curve = risk_coverage(certainty, wrong)
        shown = np.unique(np.linspace(0, len(y) - 1, _CURVE).astype(int))
        found[name] = Selective(
            point=POINT,
            aurc=float(curve.mean()),
            best=float(risk_coverage(-wrong.astype(float), wrong).mean()),
            curve=[((int(at) + 1) / len(y), float(curve[at])) for at in shown],
            kept=[_kept(share, certainty, positive, y) for share in COVERAGES],
            conformal=[_conformal(alpha, p, y, comparison.cluster, source, comparison.spec.seed) for alpha in ALPHAS],
        )
    return found


def _log_odds(p: np.ndarray) -> np.ndarray:
    kept = np.clip(p, _SURE, 1 - _SURE)
    return np.log(kept / (1 - kept))


def risk_coverage(certainty: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """The share of wrong decisions among the k most certain ones, for k from 1 to N: float64 [N].

    Images of equal certainty come in a random order in principle: each counts with the mean of its equals.

    Args:
        certainty: larger is more certain, [N].
        wrong: whether the decision is wrong, bool [N].
    """
    order = np.argsort(-certainty, kind="stable")
    _, equal = np.unique(-certainty[order], return_inverse=True)
    mean = np.bincount(equal, wrong[order]) / np.bincount(equal)
    return np.cumsum(mean[equal]) / np.arange(1, len(order) + 1)


def _kept(share: float, certainty: np.ndarray, positive: np.ndarray, y: np.ndarray) -> Kept:
    count = max(1, round(share * len(y)))
    rows = np.argsort(-certainty, kind="stable")[:count]
    decided, truth = positive[rows], y[rows] == 1
    return Kept(
        coverage=count / len(y),
        n=count,
        error=float((decided != truth).mean()),
        sensitivity=float(decided[truth].mean()) if truth.any() else None,
        specificity=float((~decided[~truth]).mean()) if (~truth).any() else None,
    )


def least_accepted(calibration: np.ndarray, alpha: float) -> float:
    """The score from which new images of a class are accepted, so that at most a share alpha of them is missed.

    Split conformal prediction: of n exchangeable scores and a new one, the new one is below the k-th smallest with a
    probability of at most k / (n + 1). With k = floor(alpha (n + 1)) the share that is missed is at most alpha, and
    where no two scores are equal it is k / (n + 1) exactly.

    Args:
        calibration: scores of images of the class, larger for those that are more typical of it, [n].
        alpha: 0 to 1.

    Returns:
        The threshold; -inf, which accepts everything, where n is too small for alpha.
    """
    k = int(np.floor(alpha * (len(calibration) + 1) + 1e-12))
    return float(np.partition(calibration, k - 1)[k - 1]) if k > 0 else -np.inf


def limits(p: np.ndarray, y: np.ndarray, alpha: float) -> tuple[float, float]:
    """Melanoma is in a set from the first probability on, the others up to the second."""
    return least_accepted(p[y == 1], alpha), -least_accepted(-p[y == 0], alpha)


def covered(p: np.ndarray, y: np.ndarray, low: float, high: float) -> np.ndarray:
    """Coverage of melanomas and of others, and shares of sets with one, both and no class: [5], NaN where undefined."""
    melanoma, other, truth = p >= low, p <= high, y == 1
    size = melanoma.astype(int) + other
    of = [part.mean() if part.size else np.nan for part in (melanoma[truth], other[~truth])]
    return np.array([*of, (size == 1).mean(), (size == 2).mean(), (size == 0).mean()])


def _conformal(
    alpha: float, p: np.ndarray, y: np.ndarray, cluster: np.ndarray, source: np.ndarray, seed: int
) -> Conformal:  # fmt: skip
    low, high = limits(p, y, alpha)
    generator, found = np.random.default_rng(seed), []
    for _ in range(HALVES):
        half = (generator.random(int(cluster.max()) + 1) < 0.5)[cluster]
        if all(0 < y[part].sum() < part.sum() for part in (half, ~half)):
            found.append(covered(p[~half], y[~half], *limits(p[half], y[half], alpha)))
    names = _large_enough(source, y)
    shifted = {}
    for name in names if len(names) > 1 else ():
        here = source == name
        shifted[name] = _coverage(covered(p[here], y[here], *limits(p[~here], y[~here], alpha)), y[here])
    return Conformal(
        alpha=alpha,
        guaranteed=1 - alpha,
        melanoma_from=low if np.isfinite(low) else None,
        other_to=high if np.isfinite(high) else None,
        halves=_coverage(np.mean(found, axis=0), y) if found else None,
        shifted=shifted,
    )


def _large_enough(source: np.ndarray, y: np.ndarray) -> Sequence[str]:
    return [
        str(name)
        for name in np.unique(source)
        if min(y[source == name].sum(), (1 - y[source == name]).sum()) >= LEAST
        and 0 < y[source != name].sum() < (source != name).sum()
    ]


def _coverage(values: np.ndarray, y: np.ndarray) -> Coverage:
    melanoma, other, one, both, neither = map(float, values)
    return Coverage(
        melanoma=melanoma, other=other, one=one, both=both, neither=neither, n=len(y), positives=int(y.sum())
    )
