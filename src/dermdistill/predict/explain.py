"""What an answer rests on: how far it moves where each part of an image is covered.

The page of `web/` computes and colours its map in the same way (`web/src/occlude.ts`, `web/src/chart.ts`).
"""

from dataclasses import dataclass

import numpy as np

from dermdistill.errors import IntegrityError
from dermdistill.predict.predictor import Predictor, are_probabilities

GRID = 8
"""Rows and columns of the map."""
_SURE = 1e-6
"""Probabilities are held this far from 0 and 1: 32 bits tell no more."""
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
    cells = [(row, column) for row in range(GRID) for column in range(GRID)]
    images = np.stack([pixels, *(occluded(pixels, *cell) for cell in cells)])
    found = predictor.probabilities(images)
    if not all(map(are_probabilities, found)):
        raise IntegrityError(
            f"{predictor.bundle.graph} gave no probabilities for a covered image; its bundle is broken"
        )
    whole, *covered = found[:, predictor.bundle.spec.melanoma_index].astype(np.float64)
    there = np.array(covered).reshape(GRID, GRID)
    return Explanation(log_odds(whole) - log_odds(there), there, float(whole))


def log_odds(p: np.ndarray | float) -> np.ndarray:
    """The logarithm of the odds of probabilities, which are first held within [1e-6, 1 - 1e-6]."""
    kept = np.clip(p, _SURE, 1 - _SURE)
    return np.log(kept / (1 - kept))


def occluded(pixels: np.ndarray, row: int, column: int) -> np.ndarray:
    """A copy of an RGB square [S, S, 3] with the neighbourhood of one cell covered in the image's median colour.

    A neighbourhood is twice as wide and as high as its cell.
    """
    size = len(pixels)

    def span(cell: int) -> slice:
        start, end = np.floor((np.array([cell - 0.5, cell + 1.5])) * size / GRID + 0.5).astype(
            int
        )  # half up, as the page
        return slice(max(0, start), min(size, end))

    copy = pixels.copy()
    copy[span(row), span(column)] = _median_colour(pixels)
    return copy


def _median_colour(pixels: np.ndarray) -> np.ndarray:
    """Of each channel the middle value, the lower one of two: skin, in most images."""
    return np.quantile(pixels.reshape(-1, 3), 0.5, axis=0, method="inverted_cdf").astype(np.uint8)


def colours(effects: np.ndarray) -> np.ndarray:
    """Effects [8, 8] as colours to lay over an image, RGBA, uint8 [8, 8, 4]: warm where covering lowers the value."""
    strength = np.abs(effects) / max(_WEAK, float(np.abs(effects).max()))
    colour = np.where((effects >= 0)[..., None], np.array(_LOWERS), np.array(_RAISES))
    opacity = np.floor(strength**1.5 * _OPAQUE + 0.5)
    return np.concatenate([colour, opacity[..., None]], axis=-1).astype(np.uint8)
