"""Ways to make probabilities mean what they say, fitted on validation images or on other lesions, never on a test.

Each fit gives a function from logits [N, C] to the probability of melanoma [N].
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from dermdistill.errors import InputError, no_such
from dermdistill.evaluate.calibration import fit_temperature, softmax

Calibrator = Callable[[np.ndarray], np.ndarray]
FITTED_ON = ("validation", "cross-fitted")
"""What may be calibrated on: validation images, or the other groups of lesions in turn."""
_PENALTY = 0.01
"""Of the Dirichlet map's off-diagonal weights and its intercepts."""


def fit(method: str, logits: np.ndarray, right: np.ndarray, melanoma: int, role: str) -> Calibrator:
    """Fit one method.

    Args:
        method: a name in `METHODS`.
        logits: [N, C].
        right: which classes are right for each image, bool [N, C], from `right_classes`.
        melanoma: the class whose probability is wanted.
        role: what the images are: 'validation', or 'cross-fitted' for other lesions among the judged images.

    Raises:
        InputError: no such method, or images that must not be fitted on.
    """
    if role not in FITTED_ON:
        raise InputError(
            f"calibration is fitted on validation images, never on those that are judged; got the role '{role}'. "
            "Give predictions with rows of the role 'validation'"
        )
    if method not in METHODS:
        raise InputError(f"calibration: {no_such('method', method, METHODS)}")
    return METHODS[method](np.asarray(logits, np.float64), np.asarray(right, bool), melanoma)


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


def _temperature(logits: np.ndarray, right: np.ndarray, melanoma: int) -> Calibrator:
    if (right.sum(axis=1) == 1).all():
        temperature = fit_temperature(logits, right.argmax(axis=1))
    else:
        temperature = fit_temperature(logits, right[:, melanoma].astype(int), positive=melanoma)
    return lambda others: softmax(others, temperature)[:, melanoma]


def _vector(logits: np.ndarray, right: np.ndarray, melanoma: int) -> Calibrator:
    """A scale and an intercept for each class (Guo et al. 2017, section 4.2); of two classes, Platt's scaling."""
    count = logits.shape[1]

    def scaled(parameters: np.ndarray, of: np.ndarray) -> np.ndarray:
        return of * parameters[:count] + parameters[count:]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _likelihood(scaled(parameters, logits), right)
        return value, np.concatenate([(slope * logits).sum(0), slope.sum(0)])

    found = _minimise(loss, np.repeat([1.0, 0.0], count))
    return lambda others: softmax(scaled(found, others))[:, melanoma]


def _dirichlet(logits: np.ndarray, right: np.ndarray, melanoma: int, penalty: float = _PENALTY) -> Calibrator:
    """A linear map of the log-probabilities, weights off its diagonal and intercepts held small.

    Source: Kull et al., "Beyond temperature scaling: obtaining well-calibrated multi-class probabilities with Dirichlet
    calibration", NeurIPS 2019, section 3 (ODIR).
    """
    count = logits.shape[1]
    known = _log_probabilities(logits)
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
    return lambda others: softmax(_log_probabilities(others) @ weights.T + intercepts)[:, melanoma]


def _isotonic(logits: np.ndarray, right: np.ndarray, melanoma: int) -> Calibrator:
    """The best rising step function of the melanoma probability, kept one image away from 0 and 1."""
    p, y = softmax(logits)[:, melanoma], right[:, melanoma]
    edge = 1 / (len(p) + 2)
    steps = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip").fit(p, y)
    return lambda others: steps.predict(softmax(others)[:, melanoma])


def _beta(logits: np.ndarray, right: np.ndarray, melanoma: int) -> Calibrator:
    """Three parameters that map the melanoma probability.

    Source: Kull, Silva Filho and Flach, "Beta calibration: a well-founded and easily implemented improvement on
    logistic calibration for binary classifiers", AISTATS 2017.
    """
    features, y = _beta_features(logits, melanoma), right[:, melanoma].astype(float)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        score = features @ parameters
        gap = _sigmoid(score) - y
        return float((np.logaddexp(0, score) - y * score).mean()), features.T @ gap / len(y)

    found = _minimise(loss, np.array([1.0, 1.0, 0.0]), bounds=[(0, None), (0, None), (None, None)])
    return lambda others: _sigmoid(_beta_features(others, melanoma) @ found)


METHODS: dict[str, Callable[[np.ndarray, np.ndarray, int], Calibrator]] = {
    "temperature": _temperature,
    "vector": _vector,
    "dirichlet": partial(_dirichlet, penalty=_PENALTY),
    "isotonic": _isotonic,
    "beta": _beta,
}


def _beta_features(logits: np.ndarray, melanoma: int) -> np.ndarray:
    tiny = 1e-12
    p = np.clip(softmax(logits)[:, melanoma], tiny, 1 - tiny)
    return np.stack([np.log(p), -np.log1p(-p), np.ones(len(p))], axis=1)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * values))


def _log_probabilities(logits: np.ndarray) -> np.ndarray:
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def _likelihood(logits: np.ndarray, right: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean negative log-likelihood of the right classes together, and its slope [N, C] at each logit."""
    everything = _log_probabilities(logits)
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
