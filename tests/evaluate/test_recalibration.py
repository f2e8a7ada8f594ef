import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from dermdistill.evaluate.recalibration import recalibration


def sample(seed: int, n: int = 3000, slope: float = 1.0, intercept: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and labels whose logit is a line in theirs."""
    generator = np.random.default_rng(seed)
    logit = generator.normal(-1, 1.5, n)
    truth = 1 / (1 + np.exp(-(slope * logit + intercept)))
    return 1 / (1 + np.exp(-logit)), (generator.random(n) < truth).astype(int)


def test_the_slope_is_that_of_a_logistic_regression():
    p, y = sample(0, slope=0.6, intercept=0.4)
    found = recalibration(p, y, np.arange(len(y)))
    fitted = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(np.log(p / (1 - p))[:, None], y)
    assert found.slope.value == pytest.approx(fitted.coef_[0, 0], abs=1e-6)
    assert found.slope.low < 0.6 < found.slope.high < 0.9


def test_the_intercept_brings_the_mean_right():
    """With the slope held at 1, the shifted probabilities sum to the number of melanomas: the likelihood's equation."""
    p, y = sample(1, intercept=0.7)
    found = recalibration(p, y, np.arange(len(y))).intercept
    shifted = 1 / (1 + np.exp(-(np.log(p / (1 - p)) + found.value)))
    assert shifted.sum() == pytest.approx(y.sum(), abs=1e-6)
    assert found.low < 0.7 < found.high


def test_right_probabilities_have_slope_one_and_intercept_nought():
    found = [recalibration(*sample(seed), np.arange(3000)) for seed in range(60)]
    slopes = sum(of.slope.low <= 1 <= of.slope.high for of in found)
    intercepts = sum(of.intercept.low <= 0 <= of.intercept.high for of in found)
    assert min(slopes, intercepts) >= 51  # 57 give or take three standard errors


def test_copies_of_an_image_add_nothing_where_they_are_of_one_lesion():
    p, y = sample(2, n=400)
    once = recalibration(p, y, np.arange(400)).slope
    copied = recalibration(np.tile(p, 4), np.tile(y, 4), np.tile(np.arange(400), 4)).slope
    alone = recalibration(np.tile(p, 4), np.tile(y, 4), np.arange(1600)).slope
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high), abs=1e-9)
    assert alone.high - alone.low == pytest.approx((once.high - once.low) / 2, rel=0.01)


@pytest.mark.parametrize(
    ("p", "y", "part", "reason"),
    [
        ([0.2, 0.3, 0.4], [0, 0, 0], "slope", "needs melanomas and others"),
        ([0.3, 0.3, 0.3], [0, 1, 0], "slope", "all probabilities are the same"),
        ([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], "slope", "do not overlap"),
    ],
)
def test_what_is_undefined_has_a_reason(p: list[float], y: list[int], part: str, reason: str):
    found = getattr(recalibration(np.array(p), np.array(y), np.arange(len(y))), part)
    assert found.value is None
    assert reason in found.reason
