"""From a known to an unknown camera: what is lost on a source that training left out.

Leave-one-source-out predicts each source by a training that saw none of it; cross-validation by one that saw other
images of it. On the same images, the difference of the two is what the unknown camera costs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
import pandas as pd

from dermdistill.classes import MELANOMA
from dermdistill.errors import InputError, no_such
from dermdistill.evaluate.analyses.seeds import recipe_of
from dermdistill.evaluate.analyses.sources import draw_within
from dermdistill.evaluate.comparison import CROSS_FITTED, Comparison
from dermdistill.evaluate.intervals import Difference, Figure, difference, figure, in_blocks
from dermdistill.evaluate.metrics import Scored, auroc
from dermdistill.evaluate.predictions import ModelPredictions
from dermdistill.evaluate.thresholds import cross_fit
from dermdistill.probabilities import softmax
from dermdistill.specs import Strict

WITHOUT = "without-"
"""How the name of a part begins that leaves a source out of training."""
NOTHING: Mapping[str, ModelPredictions] = MappingProxyType({})


class Drop(Strict):
    """One source, melanoma AUROC."""

    n: int
    positives: int
    known: Figure
    """By trainings that saw other images of the source."""
    unknown: Figure
    """By trainings that saw none of it."""
    drop: Difference
    """Unknown minus known, paired."""


class Unseen(Strict):
    """One model that was trained without each source in turn."""

    known: str
    """The same model, trained on all sources."""
    sources: dict[str, Drop]
    overall: Drop | None = None
    """All sources together, each melanoma compared with other lesions of its own source alone: the one number for what
    an unknown camera costs. Older reports have none."""


@dataclass(frozen=True)
class _Sides:
    """The same N images, judged by trainings that knew their source and by one that did not."""

    table: pd.DataFrame
    known: np.ndarray
    """Probability of melanoma [N]."""
    unknown: np.ndarray
    weights: np.ndarray
    """Bootstrap weights [R, N]."""


def unseen(comparison: Comparison, apart: Mapping[str, ModelPredictions] = NOTHING) -> dict[str, Unseen]:
    """The drop of each model whose parts leave one source out, if the report has its cross-validation too.

    Args:
        comparison: the models.
        apart: by a model's name what the same model predicts where it was trained without the source of each image. It
            may lack judged images, which are left out of the drop.

    Raises:
        InputError: no such model, or no judged image among the predictions.
    """
    found = {}
    for name, known in _pairs(comparison.models).items():
        scored = comparison.scored
        sides = _Sides(comparison.table, scored[known].p, scored[name].p, comparison.weights)
        found[name] = _unseen(known, sides)
    for known, predictions in apart.items():
        found[f"{known}, source left out"] = _unseen(known, _sides(comparison, known, predictions))
    return found


def _sides(comparison: Comparison, known: str, predictions: ModelPredictions) -> _Sides:
    """Both sides on the judged images that the predictions hold."""
    if known not in comparison.models:
        raise InputError(f"without its source: {no_such('model', known, comparison.models)}")
    of = comparison.table["image_id"].isin(predictions.table["image_id"]).to_numpy(bool)
    if not of.any():
        raise InputError(
            f"{known}: none of the {len(of)} judged images is among the {len(predictions.table)} predictions of the "
            "training without their source; give those of the same images"
        )
    table = comparison.table[of].reset_index(drop=True)
    p = _probabilities(comparison, known, predictions, of)[:, predictions.classes.index(MELANOMA)]
    return _Sides(table, comparison.scored[known].p[of], p, comparison.weights[:, of])


def _probabilities(comparison: Comparison, known: str, predictions: ModelPredictions, of: np.ndarray) -> np.ndarray:
    """Of the judged images of a mask [N], at a temperature that is chosen as those of the report's models are."""
    table = comparison.table[of]
    logits = predictions.logits(table["image_id"])
    if comparison.chosen_on == CROSS_FITTED:
        applied = cross_fit(logits, predictions.classes, table, comparison.cluster[of], comparison.spec.seed)
        return applied.probabilities
    return softmax(logits, comparison.judged[known].chosen.temperature)


def _unseen(known: str, sides: _Sides) -> Unseen:
    sources = {
        source: _drop(sides, (sides.table["source"] == source).to_numpy(bool))
        for source in sorted(sides.table["source"].unique())
    }
    return Unseen(known=known, sources=sources, overall=_overall(sides))


def _pairs(models: dict[str, ModelPredictions]) -> dict[str, str]:
    """By each model with sources left out the one of the same recipe without; of bare tables, if there is one of each.

    Models of a single hold-out have no parts and are in no pair.
    """
    parts = {name: set(model.table["part"]) for name, model in models.items() if "part" in model.table}
    left_out = [name for name, of in parts.items() if all(str(part).startswith(WITHOUT) for part in of)]
    others = [name for name in parts if name not in left_out]
    if len(left_out) == len(others) == 1:
        return {left_out[0]: others[0]}
    recipes = {name: recipe_of(models[name]) for name in parts}
    pairs = {}
    for name in left_out:
        same = [other for other in others if recipes[name] is not None and recipes[other] == recipes[name]]
        if len(same) == 1:
            pairs[name] = same[0]
    return pairs


def _overall(sides: _Sides) -> Drop:
    """The drop within sources."""
    table = sides.table.assign(collection=None)
    y = table["melanoma"]
    scored = {name: Scored(p, y.to_numpy(float), None, None) for name, p in _named(sides).items()}
    drawn = draw_within(table, scored, sides.weights)
    if not drawn:  # one source
        drawn = {name: in_blocks(partial(auroc, of), sides.weights) for name, of in scored.items()}
    why = "no source holds melanomas and others"
    return Drop(
        n=len(y), positives=int(y.sum()), known=figure(drawn["known"], why), unknown=figure(drawn["unknown"], why),
        drop=difference(drawn["unknown"], drawn["known"]),
    )  # fmt: skip


def _drop(sides: _Sides, of: np.ndarray) -> Drop:
    """The drop on the images of a mask [N]."""
    y = sides.table["melanoma"].to_numpy(float)[of]
    why = f"needs melanomas and others, has {int(y.sum())} and {int((1 - y).sum())}"
    known, unknown = (
        in_blocks(partial(auroc, Scored(p[of], y, None, None)), sides.weights[:, of]) for p in _named(sides).values()
    )
    return Drop(
        n=len(y), positives=int(y.sum()),
        known=figure(known, why), unknown=figure(unknown, why), drop=difference(unknown, known),
    )  # fmt: skip


def _named(sides: _Sides) -> dict[str, np.ndarray]:
    return {"known": sides.known, "unknown": sides.unknown}
