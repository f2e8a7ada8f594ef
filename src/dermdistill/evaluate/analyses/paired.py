"""Tests of each model against the baseline: AUROC, non-inferiority, decisions at thresholds."""

from collections.abc import Iterable

import numpy as np

from dermdistill.evaluate.comparison import Comparison
from dermdistill.evaluate.inference import Contrast, auroc_covariance, contrast, holm, mcnemar
from dermdistill.specs import Strict

POINTS = ("sensitivity_95", "specificity_90")
"""Operating points whose decisions are compared."""


class Delong(Strict):
    """The difference of two AUROCs, model minus baseline; images of one lesion belong together."""

    value: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    """Corrected for the number of models."""
    reason: str | None = None
    """Why there is none."""


class NonInferior(Strict):
    """Whether an AUROC is lower than the baseline's by no more than the margin."""

    margin: float
    shown: bool
    """Whether the interval of the difference lies above minus the margin."""
    p: float
    """One-sided."""
    p_holm: float


class Decisions(Strict):
    """Decisions of two models on the same images at a threshold of each, McNemar's test."""

    n: int
    only_model: int
    """Images that the model alone gets right."""
    only_baseline: int
    exact: float
    mid_p: float
    p_holm: float
    """The mid-p value, corrected for the number of models, thresholds and sides."""


class OneModel(Strict):
    """One model against the baseline."""

    auroc: Delong
    non_inferiority: NonInferior | None = None
    """None if no margin was fixed."""
    melanomas: dict[str, Decisions]
    """Of melanomas, by operating point: this compares sensitivities."""
    others: dict[str, Decisions]
    """Of other lesions, by operating point: this compares specificities."""


class Paired(Strict):
    """Tests against the baseline."""

    margin: float | None
    """Fixed beforehand; None if it was not."""
    models: dict[str, OneModel]


def paired(comparison: Comparison) -> Paired | None:
    """Compare every model with the baseline; None if there is no other."""
    names = [name for name in comparison.models if name != comparison.baseline]
    if not names:
        return None
    areas, margin = _areas(comparison, names), comparison.spec.margin
    known = [name for name in names if areas[name] is not None]
    adjusted = dict(zip(known, holm([of.p for of in areas.values() if of]), strict=True))
    one_sided = [of.p_above(-margin) for of in areas.values() if of] if margin else []
    inferior = dict(zip(known, zip(one_sided, holm(one_sided), strict=True), strict=True)) if margin else {}
    decisions = _decisions(comparison, names)
    models = {}
    for name in names:
        of, shown = areas[name], None
        if of is not None and margin is not None:
            p, p_holm = inferior[name]
            shown = NonInferior(margin=margin, shown=of.low > -margin, p=p, p_holm=p_holm)
        models[name] = OneModel(
            auroc=_delong(of, adjusted.get(name)), non_inferiority=shown,
            melanomas=decisions[name, True], others=decisions[name, False],
        )  # fmt: skip
    return Paired(margin=margin, models=models)


def _areas(comparison: Comparison, names: Iterable[str]) -> dict[str, Contrast | None]:
    order = [comparison.baseline, *names]
    y = comparison.scored[comparison.baseline].y
    if not 0 < y.sum() < len(y):
        return dict.fromkeys(order[1:])
    scores = np.stack([comparison.scored[name].p for name in order])
    areas = auroc_covariance(y, scores, comparison.cluster)
    return {name: contrast(areas, place, 0) for place, name in enumerate(order) if place}


def _delong(of: Contrast | None, p_holm: float | None) -> Delong:
    if of is None:
        return Delong(value=None, reason="needs two lesions or more with melanomas, and two with others")
    return Delong(value=of.value, low=of.low, high=of.high, p=of.p, p_holm=p_holm)


def _decisions(comparison: Comparison, names: list[str]) -> dict[tuple[str, bool], dict[str, Decisions]]:
    """By model, and whether of melanomas or others."""
    truth = comparison.scored[comparison.baseline].y == 1
    counts = {}
    for name in names:
        for point in POINTS:
            reached = [_reached(comparison, one, point) for one in (name, comparison.baseline)]
            ours, theirs = reached
            if ours is None or theirs is None:
                continue
            for side in (True, False):
                here = truth == side
                right = (ours[here] == side, theirs[here] == side)
                both = (int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()))
                if here.any():
                    counts[name, point, side] = (int(here.sum()), *both, *mcnemar(*both))
    adjusted = holm([of[-1] for of in counts.values()])
    found: dict[tuple[str, bool], dict[str, Decisions]] = {(name, side): {} for name in names for side in (True, False)}
    for (key, (n, ours_alone, theirs_alone, exact, mid)), p in zip(counts.items(), adjusted, strict=True):
        name, point, side = key
        found[name, side][point] = Decisions(
            n=n, only_model=ours_alone, only_baseline=theirs_alone, exact=exact, mid_p=mid, p_holm=p
        )
    return found


def _reached(comparison: Comparison, name: str, point: str) -> np.ndarray | None:
    """Which images reach a model's threshold, bool [N]."""
    judged = comparison.judged[name]
    return judged.scored.p >= judged.thresholds[point] if point in judged.thresholds else None
