"""Whom the model serves worse: sensitivity and specificity in each group of people, sites and cameras, and the gaps."""

import numpy as np

from dermdistill.evaluate.analyses.subgroups import FEWEST, Drawn, Group
from dermdistill.evaluate.comparison import Comparison
from dermdistill.evaluate.intervals import Difference, Figure, difference, figure
from dermdistill.evaluate.skin_tone import PROXY, TONE
from dermdistill.evaluate.thresholds import realised_weighted
from dermdistill.specs import Strict

POINT = "sensitivity_95"
"""The operating point of the rates."""


class Rates(Strict):
    """One model in one group, at its threshold."""

    sensitivity: Figure
    specificity: Figure


class OneGroup(Strict):
    """Images with something in common. The AUROC is in `models`, under `subgroups`."""

    of: str
    """What divides the images, such as 'sex'."""
    n: int
    positives: int
    models: dict[str, Rates]


class Gap(Strict):
    """The best group against the worst: chosen after the fact, so that some gap is there by chance alone."""

    best: str
    worst: str
    gap: Difference
    """Best minus worst, paired by the bootstrap's draws."""


class Groups(Strict):
    """Groups of the judged images."""

    point: str
    """The operating point of sensitivity and specificity."""
    groups: dict[str, OneGroup]
    gaps: dict[str, dict[str, dict[str, Gap]]]
    """By model, by what divides the images, and by figure: auroc, sensitivity, specificity."""
    proxy: str | None = None
    """What is to be known of the skin tone, if groups are made by it."""


def groups(comparison: Comparison, of: dict[str, Group], drawn: dict[str, dict[str, Drawn]]) -> Groups | None:
    """Rates in each group and the largest gaps; None if there are no groups.

    Args:
        comparison: the models.
        of: the groups, by name.
        drawn: each model's AUROC on them, by the model's name.
    """
    here = {name: group for name, group in of.items() if group.mask.any()}
    if not here:
        return None
    rates = {name: {key: _rates(comparison, name, group.mask) for key, group in here.items()} for name in drawn}
    found = {}
    for key, group in here.items():
        part = drawn[comparison.baseline][key]
        found[key] = OneGroup(
            of=group.column, n=part.n, positives=part.positives,
            models={name: _figures(rates[name][key], part) for name in drawn},
        )  # fmt: skip
    gaps = {}
    for name, parts in drawn.items():
        values = {key: {"auroc": parts[key].values, **rates[name][key]} for key in here}
        gaps[name] = _gaps(here, values)
    tone = any(group.column == TONE for group in here.values())
    return Groups(point=POINT, groups=found, gaps=gaps, proxy=PROXY if tone else None)


def _rates(comparison: Comparison, name: str, mask: np.ndarray) -> dict[str, np.ndarray]:
    """Sensitivity and specificity in every replicate, [R]; NaN of fewer than ten melanomas, or ten others."""
    judged, count = comparison.judged[name], len(comparison.weights)
    found = {key: np.full(count, np.nan) for key in ("sensitivity", "specificity")}
    if POINT not in judged.thresholds:
        return found
    y = judged.scored.y[mask]
    enough = {"sensitivity": y.sum() >= FEWEST, "specificity": (1 - y).sum() >= FEWEST}
    if any(enough.values()):
        part = (judged.scored.p[mask], y, judged.thresholds[POINT][mask])
        rates = realised_weighted(*part, comparison.weights[:, mask])
        found |= {key: rates[key] for key in found if enough[key]}
    return found


def _figures(rates: dict[str, np.ndarray], part: Drawn) -> Rates:
    counts = {"sensitivity": (part.positives, "melanomas"), "specificity": (part.n - part.positives, "others")}
    told = {}
    for key, (n, what) in counts.items():
        why = f"needs {FEWEST} {what}, has {n}" if n < FEWEST else "there is no threshold"
        told[key] = figure(rates[key], why)
    return Rates(**told)


def _gaps(of: dict[str, Group], values: dict[str, dict[str, np.ndarray]]) -> dict[str, dict[str, Gap]]:
    """By what divides the images and by figure; a single group with a figure has no gap."""
    found: dict[str, dict[str, Gap]] = {}
    for column in dict.fromkeys(group.column for group in of.values()):
        for key in ("auroc", "sensitivity", "specificity"):
            known = {
                name: values[name][key]
                for name, group in of.items()
                if group.column == column and np.isfinite(values[name][key][0])
            }
            if len(known) < 2:
                continue
            first = {name: float(drawn[0]) for name, drawn in known.items()}
            best, worst = max(first, key=first.__getitem__), min(first, key=first.__getitem__)
            gap = difference(known[best], known[worst])
            found.setdefault(column, {})[key] = Gap(best=best, worst=worst, gap=gap)
    return found
