"""From a known to an unknown camera: what is lost on a source that training left out.

Leave-one-source-out predicts each source by a training that saw none of it; cross-validation by one that saw other
images of it. On the same images, the difference of the two is what the unknown camera costs.
"""

from functools import partial

import numpy as np

from dermdistill.evaluate.analyses.seeds import recipe_of
from dermdistill.evaluate.analyses.sources import draw_within
from dermdistill.evaluate.comparison import Comparison
from dermdistill.evaluate.intervals import Difference, Figure, difference, figure, in_blocks
from dermdistill.evaluate.metrics import Scored, auroc
from dermdistill.evaluate.predictions import ModelPredictions
from dermdistill.specs import Strict

WITHOUT = "without-"
"""How the name of a part begins that leaves a source out of training."""


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


def unseen(comparison: Comparison) -> dict[str, Unseen]:
    """The drop of each model whose parts leave one source out, if the report has its cross-validation too."""
    found = {}
    for name, known in _pairs(comparison.models).items():
        sources = {}
        for source in sorted(comparison.table["source"].unique()):
            sources[source] = _drop(comparison, (known, name), (comparison.table["source"] == source).to_numpy(bool))
        found[name] = Unseen(known=known, sources=sources, overall=_overall(comparison, (known, name)))
    return found


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


def _overall(comparison: Comparison, pair: tuple[str, str]) -> Drop:
    """The drop from the first of a pair to the second within sources."""
    table = comparison.table.assign(collection=None)
    y = table["melanoma"]
    scored = {name: comparison.scored[name] for name in pair}
    drawn = draw_within(table, scored, comparison.weights)
    if not drawn:  # one source
        drawn = {name: in_blocks(partial(auroc, scored[name]), comparison.weights) for name in pair}
    known, unknown = (drawn[name] for name in pair)
    why = "no source holds melanomas and others"
    return Drop(
        n=len(y), positives=int(y.sum()),
        known=figure(known, why), unknown=figure(unknown, why), drop=difference(unknown, known),
    )  # fmt: skip


def _drop(comparison: Comparison, pair: tuple[str, str], of: np.ndarray) -> Drop:
    """The drop from the first of a pair to the second on the images of a mask [N]."""
    y = comparison.table["melanoma"].to_numpy(float)[of]
    why = f"needs melanomas and others, has {int(y.sum())} and {int((1 - y).sum())}"
    known, unknown = (
        in_blocks(partial(auroc, Scored(comparison.scored[name].p[of], y, None, None)), comparison.weights[:, of])
        for name in pair
    )
    return Drop(
        n=len(y), positives=int(y.sum()),
        known=figure(known, why), unknown=figure(unknown, why), drop=difference(unknown, known),
    )  # fmt: skip
