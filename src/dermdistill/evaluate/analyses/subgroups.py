"""Melanoma AUROC by source, collection, sex, age and site."""

from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import pandas as pd

from dermdistill.evaluate.intervals import Counted, figure, in_blocks
from dermdistill.evaluate.metrics import Scored, auroc

SOURCE = "source: "
"""How the names of subgroups by source begin."""
FEWEST = 10
"""Melanomas, and other lesions, that a subgroup needs for a figure."""
AGES = ((0, 30), (30, 50), (50, 70), (70, 121))
"""Age bands in years, upper end excluded."""


@dataclass(frozen=True)
class Drawn:
    """One model's AUROC on a subgroup in every bootstrap replicate."""

    n: int
    positives: int
    values: np.ndarray
    """[R], the first of the images as they are."""
    why: str
    """Why it is undefined, if it is."""


def draw(table: pd.DataFrame, scored: Scored, weights: np.ndarray) -> dict[str, Drawn]:
    """One model's AUROC on each subgroup, by the subgroup's name.

    Args:
        table: the images [N], columns of the manifest.
        scored: the model on them.
        weights: bootstrap weights [R, N].
    """
    return {name: _draw(scored, mask, weights) for name, mask in _masks(table)}


def subgroups(drawn: dict[str, Drawn]) -> dict[str, Counted]:
    """AUROC with interval, n and positives of each subgroup; None with a reason where too few."""
    return {
        name: Counted(**asdict(figure(part.values, part.why)), n=part.n, positives=part.positives)
        for name, part in drawn.items()
    }


def _draw(scored: Scored, mask: np.ndarray, weights: np.ndarray) -> Drawn:
    positives, n = int(scored.y[mask].sum()), int(mask.sum())
    if min(positives, n - positives) < FEWEST:
        why = f"needs {FEWEST} melanomas and {FEWEST} others, has {positives} and {n - positives}"
        return Drawn(n, positives, np.full(len(weights), np.nan), why)
    part = Scored(scored.p[mask], scored.y[mask], None, None)
    return Drawn(n, positives, in_blocks(partial(auroc, part), weights[:, mask]), "undefined")


def _masks(table: pd.DataFrame) -> list[tuple[str, np.ndarray]]:
    masks = []
    for column in ("source", "collection", "sex", "site"):
        for value in sorted(table[column].dropna().unique()):
            masks.append((f"{column}: {value}", (table[column] == value).fillna(False).to_numpy(bool)))
    for low, high in AGES:
        name = f"age: {low}-{high - 1}" if high < 121 else f"age: {low} and over"
        masks.append((name, table["age"].between(low, high, inclusive="left").to_numpy(bool)))
    return masks
