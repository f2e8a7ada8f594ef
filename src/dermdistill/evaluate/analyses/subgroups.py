"""Melanoma AUROC by source, collection, sex, age and site, within collections, and what models differ by there."""

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
            "models": _compared(
                {name: parts[source].values for name, parts in drawn.items()}, of[source].why, baseline
            ),
        }
        for source in (sources if len(sources) > 1 else [])
    }


def _compared(drawn: dict[str, np.ndarray], why: str, baseline: str) -> dict[str, dict[str, Any]]:
    """By model `auroc`, and the paired `difference` to the baseline, which itself has none.

    Args:
        drawn: each model's AUROC in every replicate, [R].
        why: what to say where one is undefined.
        baseline: one of the models.
    """
    return {
        name: {
            "auroc": asdict(figure(values, why)),
            "difference": None if name == baseline else asdict(difference(values, drawn[baseline])),
        }
        for name, values in drawn.items()
    }


def within(table: pd.DataFrame, scored: dict[str, Scored], weights: np.ndarray, baseline: str) -> dict[str, Any] | None:
    """What models tell apart within collections, where the camera is no clue; None if there is but one collection.

    Melanomas come from other clinics and cameras than most nevi, so that recognising the camera alone gives an AUROC
    over all images. Here each melanoma is compared with the other lesions of its own collection only: the AUROC of each
    collection, weighted by its pairs of a melanoma and another lesion. Images without a collection form one with
    their source.

    Args:
        table: the images [N], columns of the manifest.
        scored: the models on them.
        weights: bootstrap weights [R, N].
        baseline: one of the models.

    Returns:
        `collections`, how many; `alone`, the AUROC over all images of the share of melanomas in an image's collection;
        and by model `auroc` and `difference`, which the baseline has not.
    """
    names = table["source"].str.cat(table["collection"].fillna(""), sep="/")
    number = names.factorize()[0]
    if number.max() == 0:
        return None
    y = next(iter(scored.values())).y
    share = np.bincount(number, y) / np.bincount(number)
    alone = in_blocks(partial(auroc, Scored(share[number], y, None, None)), weights)
    drawn = {name: in_blocks(partial(_within, part, number), weights) for name, part in scored.items()}
    why = "no collection holds melanomas and others"
    return {
        "collections": int(number.max()) + 1,
        "alone": asdict(figure(alone, why)),
        "models": _compared(drawn, why, baseline),
    }


def _within(scored: Scored, number: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The AUROC of each collection, weighted by its pairs, [R]."""
    right, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for one in range(number.max() + 1):
        of = number == one
        part = Scored(scored.p[of], scored.y[of], None, None)
        here = (weights[:, of] * part.y).sum(1) * (weights[:, of] * (1 - part.y)).sum(1)
        right += here * np.nan_to_num(auroc(part, weights[:, of]))
        pairs += here
    return np.divide(right, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


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
