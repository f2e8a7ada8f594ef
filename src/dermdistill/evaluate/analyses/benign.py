"""Lesions that are no melanoma, by their diagnosis: how each is told from melanomas, and how often it is let go."""

import numpy as np
from pydantic import Field

from dermdistill.evaluate.comparison import Comparison
from dermdistill.evaluate.intervals import Figure, figure, in_blocks
from dermdistill.evaluate.metrics import Scored, auroc
from dermdistill.evaluate.thresholds import realised_weighted
from dermdistill.specs import Strict

POINTS = ("sensitivity_95", "specificity_90")
FEWEST = 10
"""Images of a diagnosis, and melanomas, that a figure needs."""


class Against(Strict):
    """One model on one diagnosis."""

    auroc: Figure
    """Of melanoma against this diagnosis alone."""
    specificity: dict[str, Figure]
    """Share of the images below the threshold, by operating point."""


class Diagnosis(Strict):
    """The images of one diagnosis other than melanoma."""

    n: int
    models: dict[str, Against]


class Benign(Strict):
    """Every diagnosis other than melanoma, the most frequent first."""

    melanomas: int
    diagnoses: dict[str, Diagnosis] = Field(min_length=1)


def benign(comparison: Comparison) -> Benign | None:
    """Judge each diagnosis; None where none is known."""
    table = comparison.table
    melanoma = table["melanoma"].to_numpy(int) == 1
    words = table["diagnosis"].where(~melanoma)
    counts = words.value_counts()
    if counts.empty:
        return None
    found = {}
    for diagnosis, n in counts.items():
        here = (words == diagnosis).fillna(False).to_numpy(bool)
        found[str(diagnosis)] = Diagnosis(
            n=int(n), models={name: _against(comparison, name, here, melanoma) for name in comparison.models}
        )
    return Benign(melanomas=int(melanoma.sum()), diagnoses=found)


def _against(comparison: Comparison, name: str, here: np.ndarray, melanoma: np.ndarray) -> Against:
    judged, weights = comparison.judged[name], comparison.weights
    n, of = int(here.sum()), here | melanoma
    why = f"needs {FEWEST} images of the diagnosis and {FEWEST} melanomas, has {n} and {int(melanoma.sum())}"
    area = np.full(len(weights), np.nan)
    if min(n, int(melanoma.sum())) >= FEWEST:
        part = Scored(judged.scored.p[of], judged.scored.y[of], None, None)
        area = in_blocks(lambda block: auroc(part, block), weights[:, of])
    return Against(auroc=figure(area, why), specificity=_specificity(comparison, name, here, n))


def _specificity(comparison: Comparison, name: str, here: np.ndarray, n: int) -> dict[str, Figure]:
    judged, found = comparison.judged[name], {}
    for point in POINTS:
        if point not in judged.thresholds:
            continue
        values = np.full(len(comparison.weights), np.nan)
        if n >= FEWEST:
            part = (judged.scored.p[here], judged.scored.y[here], judged.thresholds[point][here])
            values = realised_weighted(*part, comparison.weights[:, here])["specificity"]
        found[point] = figure(values, f"needs {FEWEST} images of the diagnosis, has {n}")
    return found
