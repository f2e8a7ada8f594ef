import numpy as np
import pytest

from dermdistill.errors import InputError
from dermdistill.evaluate.calibration import bins_of, ece, ece_if_calibrated, fit_temperature
from dermdistill.probabilities import softmax


def calibrated(n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits [n, 3] and labels drawn from their softmax."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, 3)) * 2
    return logits, (generator.random(n)[:, None] > softmax(logits).cumsum(1)).sum(1)


def test_softmax_by_hand():
    np.testing.assert_allclose(softmax(np.log([[1.0, 3.0]])), [[0.25, 0.75]])
    np.testing.assert_allclose(softmax(np.log([[1.0, 9.0]]), temperature=2), [[0.25, 0.75]])


def test_softmax_of_huge_logits_is_finite():
    np.testing.assert_allclose(softmax(np.array([[1e5, 0.0], [-1e5, 0.0]])), [[1, 0], [0, 1]])


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_scaling(factor: float):
    logits, labels = calibrated()
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor, rel=0.08)


def test_temperature_by_hand():
    # 3 of 4 right, and every logit gap is log 9: the likelihood is largest where sigmoid(log 9 / T) = 3/4, T = 2
    logits = np.array([[0.0, np.log(9)]] * 4)
    assert fit_temperature(logits, np.array([1, 1, 1, 0])) == pytest.approx(2, rel=1e-3)


def test_temperature_for_one_class_against_the_rest():
    logits, labels = calibrated(seed=3)
    found = fit_temperature(logits * 2, (labels == 1).astype(int), positive=1)
    grid = np.geomspace(0.5, 8, 400)
    p = np.stack([softmax(logits * 2, temperature)[:, 1] for temperature in grid])
    likelihood = np.where(labels == 1, np.log(p), np.log1p(-p)).mean(1)
    assert found == pytest.approx(grid[likelihood.argmax()], rel=0.01)


def test_two_classes_need_no_distinction():
    logits, labels = np.random.default_rng(0).normal(size=(50, 2)), np.arange(50) % 2
    assert fit_temperature(logits, labels, positive=1) == pytest.approx(fit_temperature(logits, labels))


@pytest.mark.parametrize("label", [0, 1])
def test_the_temperature_stays_within_bounds(label: int):
    # always right: the sharper the better; always wrong: the flatter the better
    found = fit_temperature(np.array([[0.0, 1.0]] * 5), np.full(5, label))
    assert 0.05 <= found <= 20
    assert (found < 0.06) == (label == 1)


@pytest.mark.parametrize(
    ("logits", "labels", "positive", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), None, "N > 0"),
        (np.zeros((3, 2)), np.zeros(2, int), None, r"got \(3, 2\) and \(2,\)"),
        (np.full((1, 2), np.nan), np.zeros(1, int), None, "finite"),
        (np.zeros((2, 2)), np.array([0, 2]), None, r"from 0 to 1, got \[2\]"),
        (np.zeros((2, 7)), np.array([0, -1]), None, r"from 0 to 6, got \[-1\]"),
        (np.zeros((2, 7)), np.array([0, 5]), 4, r"from 0 to 1, got \[5\]"),
    ],
)
def test_what_cannot_be_calibrated(logits: np.ndarray, labels: np.ndarray, positive: int | None, message: str):
    with pytest.raises(InputError, match=message):
        fit_temperature(logits, labels, positive)


def test_ece_by_hand():
    # two bins: {0.1, 0.2} with no melanoma, {0.6, 0.9} with one
    p, y = np.array([0.9, 0.1, 0.6, 0.2]), np.array([1, 0, 0, 0])
    assert ece(p, y, bins=2) == pytest.approx(0.5 * abs(0.15 - 0) + 0.5 * abs(0.75 - 0.5))


def test_ece_in_bins_of_equal_width():
    # [0, 0.5) holds three images, [0.5, 1] one
    p, y = np.array([0.1, 0.2, 0.3, 0.7]), np.array([0, 0, 0, 1])
    assert ece(p, y, bins=2, equal_mass=False) == pytest.approx(0.75 * 0.2 + 0.25 * 0.3)


@pytest.mark.parametrize("equal_mass", [True, False])
def test_ece_of_a_constant_does_not_depend_on_the_order_of_rows(equal_mass: bool):
    p, y = np.full(100, 0.5), np.repeat([0, 1], 50)
    assert ece(p, y, equal_mass=equal_mass) == 0


def test_equal_probabilities_share_a_bin():
    p = np.array([0.3, 0.1, 0.3, 0.3, 0.9, 0.3])
    order, starts = bins_of(p, bins=6)
    assert [set(p[part]) for part in np.split(order, starts[1:])] == [{0.1}, {0.3}, {0.9}]


def test_ece_of_fewer_images_than_bins():
    assert ece(np.array([0.2, 0.7]), np.array([0, 1])) == pytest.approx((0.2 + 0.3) / 2)


def test_the_ece_of_calibrated_probabilities_is_as_large_as_it_says():
    generator = np.random.default_rng(2)
    p = generator.beta(1, 5, 800)
    measured = np.mean([ece(p, generator.random(800) < p) for _ in range(100)])
    assert ece_if_calibrated(p) == pytest.approx(measured, rel=0.07)
    assert ece_if_calibrated(np.zeros(10)) == 0
