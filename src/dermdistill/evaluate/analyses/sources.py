"""Cameras and clinics: melanoma AUROC on each source and within collections, and what models differ by there."""

from functools import partial

import numpy as np
import pandas as pd

from dermdistill.evaluate.analyses.subgroups import SOURCE, Drawn
from dermdistill.evaluate.intervals import Difference, Figure, difference, figure, in_blocks
from dermdistill.evaluate.metrics import Scored, auroc
from dermdistill.specs import Strict


class Compared(Strict):
    """One model's AUROC, and its paired difference to the baseline's."""

    auroc: Figure
    difference: Difference | None
    """None for the baseline itself."""


class Source(Strict):
    """All models on the images of one source."""

    n: int
    positives: int
    models: dict[str, Compared]


class Within(Strict):
    """All models within collections, where the camera is no clue."""

    collections: int
    alone: Figure
    """The AUROC over all images of the share of melanomas in an image's collection: to know the camera alone."""
    models: dict[str, Compared]


def by_source(drawn: dict[str, dict[str, Drawn]], baseline: str) -> dict[str, Source]:
    """Each model's AUROC on each source, and its paired difference to the baseline's; nothing if there is one source.

    Args:
        drawn: what `dermdistill.evaluate.analyses.subgroups.draw` gave for each model, by its name.
        baseline: one of the models.
    """
    of = drawn[baseline]
    sources = [name for name in of if name.startswith(SOURCE)]
    found = {}
    for source in sources if len(sources) > 1 else []:
        values = {name: parts[source].values for name, parts in drawn.items()}
        found[source.removeprefix(SOURCE)] = Source(
            n=of[source].n, positives=of[source].positives, models=_compared(values, of[source].why, baseline)
        )
    return found


def _compared(drawn: dict[str, np.ndarray], why: str, baseline: str) -> dict[str, Compared]:
    """Each model against the baseline.

    Args:
        drawn: each model's AUROC in every replicate, [R].
        why: what to say where one is undefined.
        baseline: one of the models.
    """
    return {
        name: Compared(
            auroc=figure(values, why),
            difference=None if name == baseline else difference(values, drawn[baseline]),
        )
        for name, values in drawn.items()
    }


def draw_within(table: pd.DataFrame, scored: dict[str, Scored], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Each model's AUROC within collections in every replicate, [R]; nothing if there is but one collection.

    Args:
        table: the images [N], columns of the manifest.
        scored: the models on them.
        weights: bootstrap weights [R, N].
    """
    number = _collections(table)
    if number.max() == 0:
        return {}
    return {name: in_blocks(partial(_within, part, number), weights) for name, part in scored.items()}


def within(
    table: pd.DataFrame, drawn: dict[str, np.ndarray], y: np.ndarray, weights: np.ndarray, baseline: str
) -> Within | None:  # fmt: skip
    """What models tell apart within collections, where the camera is no clue; None if there is but one collection.

    Melanomas come from other clinics and cameras than most nevi, so that recognising the camera alone gives an AUROC
    over all images. Here each melanoma is compared with the other lesions of its own collection only: the AUROC of each
    collection, weighted by its pairs of a melanoma and another lesion. Images without a collection form one with
    their source.

    Args:
        table: the images [N], columns of the manifest.
        drawn: what `draw_within` gave.
        y: melanoma 0/1 [N].
        weights: bootstrap weights [R, N].
        baseline: one of the models.
    """
    if not drawn:
        return None
    number = _collections(table)
    share = np.bincount(number, y) / np.bincount(number)
    alone = in_blocks(partial(auroc, Scored(share[number], y, None, None)), weights)
    why = "no collection holds melanomas and others"
    return Within(collections=int(number.max()) + 1, alone=figure(alone, why), models=_compared(drawn, why, baseline))


def _collections(table: pd.DataFrame) -> np.ndarray:
    """The number of each image's collection, int64 [N]; without one, that of its source."""
    return table["source"].str.cat(table["collection"].fillna(""), sep="/").factorize()[0]


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
