"""Melanoma AUROC by source, sex, age and site, and what models differ by on each source."""

from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from dermdistill.evaluate.intervals import difference, figure, in_blocks
from dermdistill.evaluate.metrics import Scored, auroc

FEWEST = 10
"""Melanomas, and other lesions, that a subgroup needs for a figure."""
AGES = ((0, 30), (30, 50), (50, 70), (70, 121))
"""Age bands in years, upper end excluded."""


def subgroups(table: pd.DataFrame, scored: Scored, weights: np.ndarray) -> dict[str, dict[str, Any]]:
    """AUROC with interval, n and positives of each subgroup; None with a reason where too few.

    Args:
        table: the images [N], columns of the manifest.
        scored: one model on them.
        weights: bootstrap weights [R, N].
    """
    found = {}
    for name, mask in _masks(table):
        values, why = _replicates(scored, mask, weights)
        positives, n = int(scored.y[mask].sum()), int(mask.sum())
        found[name] = {"n": n, "positives": positives, **asdict(figure(values, why))}
    return found


def by_source(
    table: pd.DataFrame, scored: dict[str, Scored], weights: np.ndarray, baseline: str
) -> dict[str, dict[str, Any]]:
    """Each model's AUROC on each source, and its paired difference to the baseline's; nothing if there is one source.

    Args:
        table: the images [N], columns of the manifest.
        scored: the models on them, by name.
        weights: bootstrap weights [R, N].
        baseline: one of the models.

    Returns:
        By source: `n`, `positives`, and by model `auroc` and `difference`, which the baseline has not.
    """
    sources = sorted(table["source"].unique())
    found: dict[str, dict[str, Any]] = {}
    for source in sources if len(sources) > 1 else []:
        mask = (table["source"] == source).to_numpy(bool)
        values = {name: _replicates(part, mask, weights) for name, part in scored.items()}
        entries = {
            name: {
                "auroc": asdict(figure(drawn, why)),
                "difference": None if name == baseline else asdict(difference(drawn, values[baseline][0])),
            }
            for name, (drawn, why) in values.items()
        }
        positives = int(scored[baseline].y[mask].sum())
        found[str(source)] = {"n": int(mask.sum()), "positives": positives, "models": entries}
    return found


def _replicates(scored: Scored, mask: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, str]:
    """AUROC [R] of the images in `mask`, and why it is undefined, if it is: too few lesions of a kind."""
    positives, n = int(scored.y[mask].sum()), int(mask.sum())
    if min(positives, n - positives) < FEWEST:
        why = f"needs {FEWEST} melanomas and {FEWEST} others, has {positives} and {n - positives}"
        return np.full(len(weights), np.nan), why
    part = Scored(scored.p[mask], scored.y[mask], None, None)
    return in_blocks(partial(auroc, part), weights[:, mask]), "undefined"


def _masks(table: pd.DataFrame) -> list[tuple[str, np.ndarray]]:
    masks = []
    for column in ("source", "sex", "site"):
        for value in sorted(table[column].dropna().unique()):
            masks.append((f"{column}: {value}", (table[column] == value).fillna(False).to_numpy(bool)))
    for low, high in AGES:
        name = f"age: {low}-{high - 1}" if high < 121 else f"age: {low} and over"
        masks.append((name, table["age"].between(low, high, inclusive="left").to_numpy(bool)))
    return masks
