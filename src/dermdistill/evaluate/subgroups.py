"""Melanoma AUROC by source, sex, age and site."""

from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from dermdistill.evaluate.intervals import figure, in_blocks
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
        positives, n = int(scored.y[mask].sum()), int(mask.sum())
        if min(positives, n - positives) < FEWEST:
            why = f"needs {FEWEST} melanomas and {FEWEST} others, has {positives} and {n - positives}"
            entry = {"value": None, "low": None, "high": None, "undefined": 0, "reason": why}
        else:
            part = Scored(scored.p[mask], scored.y[mask], None, None)
            entry = asdict(figure(in_blocks(partial(auroc, part), weights[:, mask]), "undefined"))
        found[name] = {"n": n, "positives": positives, **entry}
    return found


def _masks(table: pd.DataFrame) -> list[tuple[str, np.ndarray]]:
    masks = []
    for column in ("source", "sex", "site"):
        for value in sorted(table[column].dropna().unique()):
            masks.append((f"{column}: {value}", (table[column] == value).fillna(False).to_numpy(bool)))
    for low, high in AGES:
        name = f"age: {low}-{high - 1}" if high < 121 else f"age: {low} and over"
        masks.append((name, table["age"].between(low, high, inclusive="left").to_numpy(bool)))
    return masks
