import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from dermdistill.errors import InputError
from dermdistill.evaluate import calibrators
from dermdistill.evaluate.calibration import fit_temperature
from dermdistill.evaluate.calibrators import METHODS, fit, right_classes
from dermdistill.probabilities import softmax


def two_classes(n: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are too extreme and shifted, and labels 0/1."""
    generator = np.random.default_rng(seed)
    y = (generator.random(n) < 0.3).astype(int)
    score = generator.normal(size=n) + 1.5 * y - 1
    return np.stack([np.zeros(n), 3 * score + 1], axis=1), y


def seven_classes(n: int = 1500, seed: int = 0, extreme: float = 2.5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.choice(7, n, p=[0.05, 0.1, 0.15, 0.05, 0.2, 0.4, 0.05])
    logits = generator.normal(size=(n, 7)) + 2 * (labels[:, None] == np.arange(7)) + np.linspace(-1, 1, 7)
    return extreme * logits, labels


def regression(features: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Probabilities of a logistic regression without a penalty."""
    fitted = LogisticRegression(C=np.inf, tol=1e-12, max_iter=5000).fit(features, y)
    return fitted.predict_proba(features)[:, 1]


def test_vector_scaling_of_two_classes_is_platts():
    logits, y = two_classes()
    p = fit("vector", logits, right_classes(2, y, 1), 1, "validation")(logits)
    np.testing.assert_allclose(p, regression(logits[:, 1:], y), atol=2e-5)


def test_beta_is_a_logistic_regression_on_both_logarithms():
    logits, y = two_classes()
    p = softmax(logits)[:, 1]
    expected = regression(np.stack([np.log(p), -np.log1p(-p)], axis=1), y)
    np.testing.assert_allclose(
        fit("beta", logits, right_classes(2, y, 1), 1, "validation")(logits), expected, atol=2e-4
    )


def test_beta_never_falls():
    logits, y = two_classes()
    rising = np.stack([np.zeros(200), np.linspace(-9, 9, 200)], axis=1)
    found = fit("beta", logits, right_classes(2, 1 - y, 1), 1, "validation")(rising)
    assert (np.diff(found) >= -1e-12).all()


def test_dirichlet_without_its_penalty_is_a_multinomial_regression():
    logits, labels = seven_classes()
    known = np.log(softmax(logits))
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=5000).fit(known, labels)
    ours = calibrators._dirichlet(logits, right_classes(7, labels, None), 4, penalty=0).probabilities(logits, 4)
    np.testing.assert_allclose(ours, fitted.predict_proba(known), atol=2e-3)


def test_dirichlet_of_much_penalty_is_near_a_scaling_without_intercepts():
    logits, labels = seven_classes(n=500)
    right = right_classes(7, labels, None)
    tight, loose = (
        calibrators._dirichlet(logits, right, 4, penalty=penalty).probabilities(logits, 4)[:, 4] for penalty in (1e6, 0)
    )
    assert log_loss(labels == 4, loose) < log_loss(labels == 4, tight)


def test_isotonic_is_the_mean_of_pools_and_never_certain():
    logits = np.stack([np.zeros(6), np.arange(6.0)], axis=1)
    y = np.array([0, 0, 1, 0, 1, 1])
    found = fit("isotonic", logits, right_classes(2, y, 1), 1, "validation")
    # neighbours that fall are pooled: 1, 0 become a half each; the ends stay one image away from 0 and 1
    np.testing.assert_allclose(found(logits), [1 / 8, 1 / 8, 0.5, 0.5, 7 / 8, 7 / 8])
    assert found(np.array([[0.0, 99.0]])) == pytest.approx(7 / 8)


def test_no_isotonic_step_is_steeper_than_float32_can_follow():
    """Of many images, neighbours on a step lie close together: a thousandth of a logit must not move a probability."""
    logits, y = two_classes(4000)
    found = fit("isotonic", logits, right_classes(2, y, 1), 1, "validation")
    assert len(found.map.starts) > 5
    assert min(found.map.widths) == calibrators.LEAST_WIDTH
    moved = found(logits + np.array([0, 1e-3])) - found(logits)
    assert 0 < moved.max() < 5e-3
    assert log_loss(y, found(logits)) < log_loss(y, softmax(logits)[:, 1])


def test_isotonic_of_melanomas_that_look_no_worse_is_their_share():
    logits = np.stack([np.zeros(4), np.arange(4.0)], axis=1)
    found = fit("isotonic", logits, right_classes(2, np.array([1, 0, 0, 0]), 1), 1, "out-of-fold")
    np.testing.assert_allclose(found(logits), 0.25)


def test_temperature_is_that_of_the_report():
    logits, labels = seven_classes()
    expected = softmax(logits, fit_temperature(logits, labels))[:, 4]
    np.testing.assert_array_equal(
        fit("temperature", logits, right_classes(7, labels, None), 4, "validation")(logits), expected
    )
    y = (labels == 4).astype(int)
    expected = softmax(logits, fit_temperature(logits, y, positive=4))[:, 4]
    np.testing.assert_array_equal(fit("temperature", logits, right_classes(7, y, 4), 4, "validation")(logits), expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("known", ["diagnosis", "melanoma"])
def test_every_method_mends_other_images(method: str, known: str):
    (logits, labels), (others, theirs) = (seven_classes(seed=seed, extreme=6) for seed in (1, 2))
    y = (labels == 4).astype(int)
    right = right_classes(7, labels, None) if known == "diagnosis" else right_classes(7, y, 4)
    p = fit(method, logits, right, 4, "validation")(others)
    assert p.shape == (len(others),)
    assert ((p > 0) & (p < 1)).all()
    assert log_loss(theirs == 4, p) < log_loss(theirs == 4, softmax(others)[:, 4]) - 0.02


def test_the_slope_of_the_likelihood():
    from scipy.optimize import check_grad

    logits, labels = seven_classes(n=20)
    right = right_classes(7, (labels == 4).astype(int), 4)

    def value(flat: np.ndarray) -> float:
        return calibrators._likelihood(flat.reshape(20, 7), right)[0]

    def slope(flat: np.ndarray) -> np.ndarray:
        return calibrators._likelihood(flat.reshape(20, 7), right)[1].ravel()

    assert check_grad(value, slope, logits.ravel()) < 1e-6


@pytest.mark.parametrize("role", ["test", "train"])
def test_judged_images_are_refused(role: str):
    logits, y = two_classes(50)
    with pytest.raises(InputError, match=f"never on those that are judged; got the role '{role}'"):
        fit("beta", logits, right_classes(2, y, 1), 1, role)


def test_an_unknown_method_is_told_the_nearest():
    logits, y = two_classes(50)
    with pytest.raises(InputError, match="isotonic"):
        fit("isotone", logits, right_classes(2, y, 1), 1, "validation")
