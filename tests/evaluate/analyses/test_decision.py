"""Decision curves against a closed form and against counting by hand."""

import numpy as np
import pytest

from dermdistill.evaluate.analyses.decision import PROBABILITIES, net_benefit


def test_acting_on_all_is_the_closed_form():
    y = np.repeat([1, 0], [30, 170])
    found = net_benefit(np.ones(200), y, PROBABILITIES)
    share = 0.15
    expected = [share - (1 - share) * at / (1 - at) for at in PROBABILITIES]
    assert found == pytest.approx(expected, abs=1e-12)
    assert net_benefit(np.ones(200), y, (share,))[0] == pytest.approx(0, abs=1e-12)  # where both are worth the same


def test_acting_on_none_and_on_the_melanomas_alone():
    y = np.repeat([1, 0], [30, 170])
    assert net_benefit(np.zeros(200), y, PROBABILITIES) == pytest.approx([0.0] * len(PROBABILITIES))
    assert net_benefit(y.astype(float), y, PROBABILITIES) == pytest.approx([0.15] * len(PROBABILITIES))


def test_a_curve_is_what_counting_image_by_image_gives():
    generator = np.random.default_rng(3)
    p, y = generator.random(300), generator.integers(0, 2, 300)
    for at, value in zip(PROBABILITIES, net_benefit(p, y, PROBABILITIES), strict=True):
        worth = sum((1 if truth else -at / (1 - at)) for chance, truth in zip(p, y, strict=True) if chance >= at)
        assert value == pytest.approx(worth / 300, abs=1e-12)


def test_a_uniform_probability_has_the_integral_that_calculus_gives():
    """With p uniform and calibrated, net benefit at t is the integral over [t, 1] of p - (1 - p) t / (1 - t)."""
    p = (np.arange(200_000) + 0.5) / 200_000
    for at in (0.1, 0.3, 0.5):
        (found,) = net_benefit(p, p, (at,))  # each image a share p of a melanoma: the expectation itself
        assert found == pytest.approx((1 - at**2) / 2 - (1 - at) ** 2 / 2 * at / (1 - at), abs=1e-4)
