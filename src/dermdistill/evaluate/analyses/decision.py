"""Decision curves: what acting on a model is worth, against acting on every lesion or on none.

Source: Vickers and Elkin, "Decision curve analysis: a novel method for evaluating prediction models", Medical Decision
Making 26 (2006) 565-574.
"""

import numpy as np

from dermdistill.evaluate.comparison import Comparison
from dermdistill.specs import Strict

PROBABILITIES = tuple(round(step / 100, 2) for step in range(1, 51))
"""Probabilities of melanoma from which somebody may want to act: 1 % to 50 %."""


class Decision(Strict):
    """Net benefit at each probability from which one acts, in melanomas found for each image.

    Acting on no lesion has 0. An image without melanoma that is acted on costs the odds of that probability: whoever
    acts from 5 % on counts a needless excision as 1/19 of a melanoma that is found.
    """

    probabilities: tuple[float, ...]
    all: tuple[float, ...]
    """Of acting on every lesion."""
    models: dict[str, tuple[float, ...]]
    """Of acting where the model's calibrated probability is at least so high."""


def decision(comparison: Comparison) -> Decision:
    """The decision curve of each model."""
    y = comparison.judged[comparison.baseline].scored.y
    everywhere = net_benefit(np.ones(len(y)), y, PROBABILITIES)
    curves = {name: net_benefit(scored.p, y, PROBABILITIES) for name, scored in comparison.scored.items()}
    return Decision(probabilities=PROBABILITIES, all=everywhere, models=curves)


def net_benefit(p: np.ndarray, y: np.ndarray, probabilities: tuple[float, ...]) -> tuple[float, ...]:
    """True positives less the false ones at the odds of each probability, a share of all images.

    Args:
        p: probability of melanoma [N].
        y: melanoma 0/1 [N].
        probabilities: each between 0 and 1, exclusive.
    """
    found = []
    for probability in probabilities:
        positive = np.asarray(p) >= probability
        right, wrong = float((positive * y).sum()), float((positive * (1 - y)).sum())
        found.append((right - wrong * probability / (1 - probability)) / len(y))
    return tuple(found)
