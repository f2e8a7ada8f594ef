"""Covering parts of an image, to see what an answer rests on."""

from collections.abc import Callable

import numpy as np

GRID = 8
"""Rows and columns of a map."""
_SURE = 1e-6
"""Probabilities are held this far from 0 and 1: 32 bits tell no more."""


def occlusions(pixels: np.ndarray) -> np.ndarray:
    """An RGB square uint8 [S, S, 3] with each cell's neighbourhood covered in turn, [GRID * GRID, S, S, 3], by rows."""
    return np.stack([occluded(pixels, row, column) for row in range(GRID) for column in range(GRID)])


def effects(melanoma: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """How far the log-odds of melanoma fall where each part is covered, float64 [GRID, GRID].

    Args:
        melanoma: gives the probabilities [N] of images uint8 [N, S, S, 3].
        pixels: the image, uint8 [S, S, 3].
    """
    whole, *covered = melanoma(np.concatenate([pixels[None], occlusions(pixels)])).astype(np.float64)
    return (log_odds(whole) - log_odds(np.array(covered))).reshape(GRID, GRID)


def log_odds(p: np.ndarray | float) -> np.ndarray:
    """The logarithm of the odds of probabilities, which are first held within [1e-6, 1 - 1e-6]."""
    kept = np.clip(p, _SURE, 1 - _SURE)
    return np.log(kept / (1 - kept))


def occluded(pixels: np.ndarray, row: int, column: int) -> np.ndarray:
    """A copy of an RGB square [S, S, 3] with the neighbourhood of one cell covered in the image's median colour.

    A neighbourhood is twice as wide and as high as its cell.
    """
    copy = pixels.copy()
    copy[_span(len(pixels), row - 0.5, row + 1.5), _span(len(pixels), column - 0.5, column + 1.5)] = median_colour(
        pixels
    )
    return copy


def cell(size: int, row: int, column: int) -> tuple[slice, slice]:
    """The rows and columns of a square of `size` pixels that belong to one cell."""
    return _span(size, row, row + 1), _span(size, column, column + 1)


def _span(size: int, start: float, end: float) -> slice:
    first, last = np.floor(np.array([start, end]) * size / GRID + 0.5).astype(int)  # half up, as the page
    return slice(max(0, first), min(size, last))


def median_colour(pixels: np.ndarray) -> np.ndarray:
    """Of each channel the middle value, the lower one of two: skin, in most images."""
    return np.quantile(pixels.reshape(-1, 3), 0.5, axis=0, method="inverted_cdf").astype(np.uint8)
