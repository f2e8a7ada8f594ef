"""Ways to make probabilities mean what they say, fitted on validation images or on other lesions, never on a test.

Each fit gives a map of `dermdistill.probabilities`, which a bundle can hold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from dermdistill.errors import InputError, no_such
from dermdistill.evaluate.calibration import fit_temperature
from dermdistill.probabilities import (
    Beta,
    Calibration,
    Dirichlet,
    Isotonic,
    Temperature,
    Vector,
    log_probabilities,
    log_shares,
)

FITTED_ON = ("validation", "out-of-fold", "cross-fitted")
"""What may be calibrated on: validation images, images that other trainings of the model did not see, or the other
groups of lesions in turn."""
LEAST_WIDTH = 0.1
"""Of an isotonic step, in log-odds. Runtimes round logits differently, and a steeper step would tell them apart."""
_PENALTY = 0.01
"""Of the Dirichlet map's off-diagonal weights and its intercepts."""


@dataclass(frozen=True)
class Fitted:
    """A calibration, and which class is melanoma."""

    map: Calibration
    melanoma: int

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """The probability of melanoma [N] of logits [N, C]."""
        return self.map.probabilities(logits, self.melanoma)[:, self.melanoma]


def fit(method: str, logits: np.ndarray, right: np.ndarray, melanoma: int, role: str) -> Fitted:
    """Fit one method.

    Args:
        method: a name in `METHODS`.
        logits: [N, C].
        right: which classes are right for each image, bool [N, C], from `right_classes`.
        melanoma: the class whose probability is wanted.
        role: what the images are: 'validation', 'out-of-fold' for images that the networks which predicted them did
            not see, or 'cross-fitted' for other lesions among the judged images.

    Raises:
        InputError: no such method, or images that must not be fitted on.
    """
    require_role(role)
    if method not in METHODS:
        raise InputError(f"calibration: {no_such('method', method, METHODS)}")
    return Fitted(METHODS[method](np.asarray(logits, np.float64), np.asarray(right, bool), melanoma), melanoma)


def require_role(role: str) -> None:
    """Raise InputError where images of a role must not be fitted on."""
    if role not in FITTED_ON:
        raise InputError(
            f"calibration is fitted on validation images, never on those that are judged; got the role '{role}'. "
            "Give predictions with rows of the role 'validation'"
        )


def right_classes(count: int, labels: np.ndarray, positive: int | None) -> np.ndarray:
    """Which classes are right for each image, bool [N, C].

    Args:
        count: C.
        labels: class indices [N]; or with `positive` 0/1 [N], whether it is that class; for 0 all others are right.
        positive: a class index or None.
    """
    right = np.zeros((len(labels), count), bool)
    if positive is None:
        right[np.arange(len(labels)), labels] = True
    else:
        right[:] = labels[:, None] == 0
        right[:, positive] = labels == 1
    return right


def _temperature(logits: np.ndarray, right: np.ndarray, melanoma: int) -> Temperature:
    if (right.sum(axis=1) == 1).all():
        temperature = fit_temperature(logits, right.argmax(axis=1))
    else:
        temperature = fit_temperature(logits, right[:, melanoma].astype(int), positive=melanoma)
    return Temperature(temperature=temperature)


def _vector(logits: np.ndarray, right: np.ndarray, melanoma: int) -> Vector:
    """A scale and an intercept for each class (Guo et al. 2017, section 4.2); of two classes, Platt's scaling."""
    count = logits.shape[1]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _likelihood(logits * parameters[:count] + parameters[count:], right)
        return value, np.concatenate([(slope * logits).sum(0), slope.sum(0)])

    found = _minimise(loss, np.repeat([1.0, 0.0], count))
    return Vector(scale=tuple(found[:count].tolist()), intercept=tuple(found[count:].tolist()))


def _dirichlet(logits: np.ndarray, right: np.ndarray, melanoma: int, penalty: float = _PENALTY) -> Dirichlet:
    """A linear map of the log-probabilities, weights off its diagonal and intercepts held small.

    Source: Kull et al., "Beyond temperature scaling: obtaining well-calibrated multi-class probabilities with Dirichlet
    calibration", NeurIPS 2019, section 3 (ODIR).
    """
    count = logits.shape[1]
    known = log_probabilities(logits)
    off = 1 - np.eye(count)

    def parts(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return parameters[: count**2].reshape(count, count), parameters[count**2 :]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights, intercepts = parts(parameters)
        value, slope = _likelihood(known @ weights.T + intercepts, right)
        held = penalty / (count * (count - 1)), penalty / count
        value += held[0] * float((off * weights**2).sum()) + held[1] * float((intercepts**2).sum())
        steep = slope.T @ known + 2 * held[0] * off * weights
        return value, np.concatenate([steep.ravel(), slope.sum(0) + 2 * held[1] * intercepts])

    weights, intercepts = parts(_minimise(loss, np.concatenate([np.eye(count).ravel(), np.zeros(count)])))
    return Dirichlet(weights=tuple(tuple(row) for row in weights.tolist()), intercept=tuple(intercepts.tolist()))


def _isotonic(logits: np.ndarray, right: np.ndarray, melanoma: int) -> Isotonic:
    """The best rising step function of the melanoma probability, kept one image away from 0 and 1.

    Between two steps it rises evenly in log-odds, over `LEAST_WIDTH` at least.
    """
    log_p, log_q = log_shares(logits, melanoma)
    edge = 1 / (len(logits) + 2)
    steps = IsotonicRegression(y_min=edge, y_max=1 - edge).fit(log_p - log_q, right[:, melanoma])
    places, levels = steps.X_thresholds_, steps.y_thresholds_
    if levels[0] == levels[-1]:  # melanomas have no higher probabilities than the others
        return Isotonic(lowest=float(levels[0]), starts=(0.0,), widths=(1.0,), rises=(0.0,))
    rising = np.diff(levels) > 0
    middles = (places[1:] + places[:-1])[rising] / 2
    widths = np.maximum(np.diff(places)[rising], LEAST_WIDTH)
    return Isotonic(
        lowest=float(levels[0]), starts=tuple((middles - widths / 2).tolist()), widths=tuple(widths.tolist()),
        rises=tuple(np.diff(levels)[rising].tolist()),
    )  # fmt: skip


def _beta(logits: np.ndarray, right: np.ndarray, melanoma: int) -> Beta:
    """Three parameters that map the melanoma probability.

    Source: Kull, Silva Filho and Flach, "Beta calibration: a well-founded and easily implemented improvement on
    logistic calibration for binary classifiers", AISTATS 2017.
    """
    log_p, log_q = log_shares(logits, melanoma)
    features, y = np.stack([log_p, -log_q, np.ones(len(log_p))], axis=1), right[:, melanoma].astype(float)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        score = features @ parameters
        gap = 0.5 * (1 + np.tanh(0.5 * score)) - y
        return float((np.logaddexp(0, score) - y * score).mean()), features.T @ gap / len(y)

    a, b, c = _minimise(loss, np.array([1.0, 1.0, 0.0]), bounds=[(0, None), (0, None), (None, None)]).tolist()
    return Beta(a=a, b=b, c=c)


METHODS: dict[str, Callable[[np.ndarray, np.ndarray, int], Calibration]] = {
    "temperature": _temperature,
    "vector": _vector,
    "dirichlet": partial(_dirichlet, penalty=_PENALTY),
    "isotonic": _isotonic,
    "beta": _beta,
}


def _likelihood(logits: np.ndarray, right: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean negative log-likelihood of the right classes together, and its slope [N, C] at each logit."""
    everything = log_probabilities(logits)
    inside = np.where(right, logits, -np.inf)
    inside = inside - np.logaddexp.reduce(inside, axis=1, keepdims=True)
    value = -np.logaddexp.reduce(np.where(right, everything, -np.inf), axis=1).mean()
    return float(value), (np.exp(everything) - np.exp(inside)) / len(logits)


def _minimise(
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    bounds: list[tuple[float | None, float | None]] | None = None,
) -> np.ndarray:
    options = {"maxiter": 300, "ftol": 1e-10, "gtol": 1e-7}
    return minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
