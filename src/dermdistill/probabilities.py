"""From logits to calibrated probabilities: the maps that a bundle may hold, as plain numbers.

`dermdistill.evaluate.calibrators` fits them, and `dermdistill.export.formats.calibrated` puts them into graphs.
`melanoma` is the index of melanoma among the C classes. Maps of the melanoma probability alone leave the other classes
in their proportions.
"""

import math
from typing import Annotated, Final, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from dermdistill.specs import Strict

Method = Literal["temperature", "vector", "dirichlet", "isotonic", "beta"]
FLOOR: Final = math.log(1e-12)
"""The least logarithm of a probability that maps of the melanoma probability take."""
Numbers = Annotated[tuple[float, ...], Field(min_length=1)]
NotNegative = Annotated[float, Field(ge=0)]


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Class probabilities [N, C] of logits [N, C] divided by a temperature."""
    scaled = np.asarray(logits, np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Logarithms [N, C] of the softmax of logits [N, C]."""
    logits = np.asarray(logits, np.float64)
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def log_shares(logits: np.ndarray, melanoma: int) -> tuple[np.ndarray, np.ndarray]:
    """log p and log(1 - p) of the melanoma probability p, each [N] and at least `FLOOR`."""
    known = log_probabilities(logits)
    others = np.logaddexp.reduce(np.delete(known, melanoma, axis=1), axis=1)
    return np.maximum(known[:, melanoma], FLOOR), np.maximum(others, FLOOR)


class Temperature(Strict):
    """One number divides all logits (Guo et al. 2017)."""

    method: Literal["temperature"] = "temperature"
    temperature: float = Field(gt=0)

    def probabilities(self, logits: np.ndarray, melanoma: int) -> np.ndarray:
        """[N, C] of logits [N, C]."""
        return softmax(logits, self.temperature)


class Vector(Strict):
    """Each logit is multiplied by a number of its class, and another is added; then the softmax."""

    method: Literal["vector"] = "vector"
    scale: Numbers
    """Of each class."""
    intercept: Numbers
    """Of each class."""

    def probabilities(self, logits: np.ndarray, melanoma: int) -> np.ndarray:
        """[N, C] of logits [N, C]."""
        return softmax(np.asarray(logits, np.float64) * self.scale + np.array(self.intercept))


class Dirichlet(Strict):
    """The softmax of `weights` times the log-softmax of the logits, plus `intercept`."""

    method: Literal["dirichlet"] = "dirichlet"
    weights: tuple[Numbers, ...] = Field(min_length=1)
    """C rows of C numbers: row i holds what each class's log-probability adds to class i."""
    intercept: Numbers
    """Of each class."""

    def probabilities(self, logits: np.ndarray, melanoma: int) -> np.ndarray:
        """[N, C] of logits [N, C]."""
        return softmax(log_probabilities(logits) @ np.array(self.weights).T + np.array(self.intercept))


class Isotonic(Strict):
    """A rising function of the melanoma log-odds z = log p - log(1 - p), made of ramps.

    The melanoma probability is `lowest` + the sum over i of rises[i] * min(1, max(0, (z - starts[i]) / widths[i])).
    """

    method: Literal["isotonic"] = "isotonic"
    lowest: NotNegative
    """The probability below all ramps."""
    starts: Numbers
    """The log-odds at which each ramp begins."""
    widths: tuple[Annotated[float, Field(gt=0)], ...]
    """In log-odds."""
    rises: tuple[NotNegative, ...]
    """What each ramp adds to the probability."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not len(self.starts) == len(self.widths) == len(self.rises):
            counts = f"{len(self.starts)}, {len(self.widths)} and {len(self.rises)}"
            raise ValueError(f"starts, widths and rises must have a value for each ramp, got {counts} values")
        if (highest := self.lowest + sum(self.rises)) > 1 + 1e-9:
            raise ValueError(f"lowest and all rises together must be at most 1, got {highest:g}")
        return self

    def probabilities(self, logits: np.ndarray, melanoma: int) -> np.ndarray:
        """[N, C] of logits [N, C]."""
        log_p, log_q = log_shares(logits, melanoma)
        ramps = ((log_p - log_q)[:, None] - np.array(self.starts)) / self.widths
        return with_melanoma(logits, melanoma, self.lowest + np.clip(ramps, 0, 1) @ np.array(self.rises))


class Beta(Strict):
    """The melanoma probability is sigmoid(a log p - b log(1 - p) + c)."""

    method: Literal["beta"] = "beta"
    a: NotNegative
    b: NotNegative
    c: float

    def probabilities(self, logits: np.ndarray, melanoma: int) -> np.ndarray:
        """[N, C] of logits [N, C]."""
        log_p, log_q = log_shares(logits, melanoma)
        score = self.a * log_p - self.b * log_q + self.c
        return with_melanoma(logits, melanoma, 0.5 * (1 + np.tanh(0.5 * score)))


Stored = Annotated[Vector | Dirichlet | Isotonic | Beta, Field(discriminator="method")]
"""What bundle.json holds in place of a temperature."""
Calibration = Temperature | Vector | Dirichlet | Isotonic | Beta


def with_melanoma(logits: np.ndarray, melanoma: int, p: np.ndarray) -> np.ndarray:
    """Probabilities [N, C] with a given one [N] of melanoma; the others share the rest as the softmax of the logits."""
    others = np.array(logits, np.float64)
    others[:, melanoma] = -np.inf
    made = softmax(others) * (1 - p)[:, None]
    made[:, melanoma] = p
    return made


def misfit(calibration: Calibration, classes: int) -> str | None:
    """Why a calibration is not one of so many classes; None if it is."""
    if isinstance(calibration, Vector):
        counts = [len(calibration.scale), len(calibration.intercept)]
    elif isinstance(calibration, Dirichlet):
        counts = [len(calibration.weights), *map(len, calibration.weights), len(calibration.intercept)]
    else:
        counts = []
    wrong = [count for count in counts if count != classes]
    return f"calibration '{calibration.method}' has {wrong[0]} values for {classes} classes" if wrong else None
