"""Melanoma AUROC by source, sex, age and site, and what models differ by on each source."""

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from dermdistill.evaluate.intervals import difference, figure, in_blocks
from dermdistill.evaluate.metrics import Scored, auroc

_SOURCE = "source: "
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


def subgroups(drawn: dict[str, Drawn]) -> dict[str, dict[str, Any]]:
    """AUROC with interval, n and positives of each subgroup; None with a reason where too few."""
    return {
        name: {"n": part.n, "positives": part.positives, **asdict(figure(part.values, part.why))}
        for name, part in drawn.items()
    }


def by_source(drawn: dict[str, dict[str, Drawn]], baseline: str) -> dict[str, dict[str, Any]]:
    """Each model's AUROC on each source, and its paired difference to the baseline's; nothing if there is one source.

    Args:
        drawn: what `draw` gave for each model, by its name.
        baseline: one of the models.

    Returns:
        By source: `n`, `positives`, and by model `auroc` and `difference`, which the baseline has not.
    """
    of = drawn[baseline]
    sources = [name for name in of if name.startswith(_SOURCE)]
    return {
        source.removeprefix(_SOURCE): {
            "n": of[source].n,
            "positives": of[source].positives,
            "models": {
                name: {
                    "auroc": asdict(figure(parts[source].values, parts[source].why)),
                    "difference": None
                    if name == baseline
                    else asdict(difference(parts[source].values, of[source].values)),
                }
                for name, parts in drawn.items()
            },
        }
        for source in (sources if len(sources) > 1 else [])
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
    for column in ("source", "sex", "site"):
        for value in sorted(table[column].dropna().unique()):
            masks.append((f"{column}: {value}", (table[column] == value).fillna(False).to_numpy(bool)))
    for low, high in AGES:
        name = f"age: {low}-{high - 1}" if high < 121 else f"age: {low} and over"
        masks.append((name, table["age"].between(low, high, inclusive="left").to_numpy(bool)))
    return masks
