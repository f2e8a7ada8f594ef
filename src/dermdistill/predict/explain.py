"""What an answer rests on: how far it moves where each part of an image is covered.

The page of `web/` computes and colours its map in the same way (`web/src/occlude.ts`, `web/src/chart.ts`).
"""

from dataclasses import dataclass

import numpy as np

from dermdistill.errors import IntegrityError
from dermdistill.images.occlusion import GRID, log_odds, occlusions
from dermdistill.predict.predictor import Predictor, are_probabilities

_LOWERS, _RAISES = (255, 106, 0), (0, 132, 255)
"""Colours of the parts whose covering lowers and raises the probability."""
_WEAK = 0.5
"""An effect on the log-odds; maps whose strongest is weaker stay pale."""
_OPAQUE = 180
"""The largest opacity, of 255."""


@dataclass(frozen=True)
class Explanation:
    """The map of an image."""

    effects: np.ndarray
    """How far the log-odds of melanoma fall where each part is covered, float64 [8, 8]; negative where they rise."""
    covered: np.ndarray
    """The probability of melanoma with each part covered, [8, 8]."""
    whole: float
    """The probability of melanoma of the image as it is."""


def explain(predictor: Predictor, pixels: np.ndarray) -> Explanation:
    """Cover each part of an image in turn, and see how far the probability of melanoma moves.

    The map shows what the network reacts to, not where a melanoma is. It takes 65 forward passes.

    Args:
        predictor: the model.
        pixels: RGB, uint8 [S, S, 3], S as the model's input.

    Raises:
        InputError: pixels of another shape or type.
        IntegrityError: the model's graph fails, or gives no probabilities.
    """
    found = predictor.probabilities(np.concatenate([pixels[None], occlusions(pixels)]))
    if not all(map(are_probabilities, found)):
        raise IntegrityError(
            f"{predictor.bundle.graph} gave no probabilities for a covered image; its bundle is broken"
        )
    whole, *covered = found[:, predictor.bundle.spec.melanoma_index].astype(np.float64)
    there = np.array(covered).reshape(GRID, GRID)
    return Explanation(log_odds(whole) - log_odds(there), there, float(whole))


def colours(effects: np.ndarray) -> np.ndarray:
    """Effects [8, 8] as colours to lay over an image, RGBA, uint8 [8, 8, 4]: warm where covering lowers the value."""
    strength = np.abs(effects) / max(_WEAK, float(np.abs(effects).max()))
    colour = np.where((effects >= 0)[..., None], np.array(_LOWERS), np.array(_RAISES))
    opacity = np.floor(strength**1.5 * _OPAQUE + 0.5)
    return np.concatenate([colour, opacity[..., None]], axis=-1).astype(np.uint8)
