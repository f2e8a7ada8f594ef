"""Maps from logits to probabilities, by hand."""

import numpy as np
import pytest
from pydantic import ValidationError

from dermdistill.probabilities import (
    Beta,
    Dirichlet,
    Isotonic,
    Temperature,
    Vector,
    log_shares,
    misfit,
    softmax,
)

LOGITS = np.log(np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]))
"""Logarithms of probabilities, of which the second is melanoma's."""


def test_temperature_and_vector_by_hand():
    np.testing.assert_allclose(Temperature(temperature=1).probabilities(LOGITS, 1), np.exp(LOGITS))
    squares = np.array([0.04, 0.25, 0.09])
    np.testing.assert_allclose(Temperature(temperature=0.5).probabilities(LOGITS, 1)[0], squares / squares.sum())
    same = Vector(scale=(2, 2, 2), intercept=(1, 1, 1))
    np.testing.assert_allclose(same.probabilities(LOGITS, 1)[0], squares / squares.sum())
    raised = Vector(scale=(1, 1, 1), intercept=(0, np.log(2), 0))
    np.testing.assert_allclose(raised.probabilities(LOGITS, 1)[0], np.array([0.2, 1, 0.3]) / 1.5)


def test_dirichlet_by_hand_and_without_regard_to_a_shift_of_the_logits():
    swapped = Dirichlet(weights=((0, 1, 0), (1, 0, 0), (0, 0, 1)), intercept=(0, 0, np.log(2)))
    np.testing.assert_allclose(swapped.probabilities(LOGITS + 5, 1)[0], np.array([0.5, 0.2, 0.6]) / 1.3)


def test_beta_maps_melanoma_and_leaves_the_others_in_their_proportions():
    found = Beta(a=1, b=1, c=np.log(3)).probabilities(LOGITS, 1)
    np.testing.assert_allclose(found[:, 1], [3 / 4, (3 / 9) / (1 + 3 / 9)])  # the odds 1 and 1/9, three times
    np.testing.assert_allclose(found[:, 0] / found[:, 2], [2 / 3, 2])
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(Beta(a=1, b=1, c=0).probabilities(LOGITS, 1), np.exp(LOGITS))


def test_isotonic_adds_ramps():
    ramps = Isotonic(lowest=0.1, starts=(-1, 0.5), widths=(2, 1), rises=(0.4, 0.3))
    z = np.array([-9, -1, 0, 0.75, 1, 9])
    found = ramps.probabilities(np.stack([np.zeros(6), z], axis=1), 1)
    np.testing.assert_allclose(found[:, 1], [0.1, 0.1, 0.3, 0.1 + 0.35 + 0.075, 0.5 + 0.15, 0.8])
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_certain_logits_stay_numbers():
    logits = np.array([[900.0, -900, 0], [-900, 900, 0], [0, 800, 900]])
    for one in (Beta(a=0.5, b=2, c=1), Isotonic(lowest=0, starts=(0,), widths=(1,), rises=(1,))):
        found = one.probabilities(logits, 1)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found.sum(axis=1), 1)
    log_p, log_q = log_shares(logits, 1)
    np.testing.assert_allclose([log_p[0], log_q[0], log_p[1], log_q[1]], np.log([1e-12, 1, 1, 1e-12]))


def test_softmax_does_not_overflow():
    np.testing.assert_allclose(softmax(np.array([[1e5, 1e5 - np.log(3)]])), [[0.75, 0.25]])


def test_what_fits_no_classes_is_told():
    assert misfit(Temperature(temperature=1), 3) is None
    assert misfit(Beta(a=1, b=1, c=0), 3) is None
    assert misfit(Vector(scale=(1, 1, 1), intercept=(0, 0, 0)), 3) is None
    assert misfit(Vector(scale=(1, 1), intercept=(0, 0)), 3) == "calibration 'vector' has 2 values for 3 classes"
    assert misfit(Dirichlet(weights=((1, 0), (0, 1)), intercept=(0, 0)), 2) is None
    assert misfit(Dirichlet(weights=((1, 0), (0,)), intercept=(0, 0)), 2) is not None


@pytest.mark.parametrize(
    ("ramps", "told"),
    [
        ({"rises": (0.1,)}, "must have a value for each ramp, got 2, 2 and 1 values"),
        ({"rises": (0.1, 0.9)}, "must be at most 1, got 1.1"),
        ({"rises": (0.1, -0.1)}, "greater than or equal to 0"),
        ({"widths": (0, 1)}, "greater than 0"),
        ({"starts": ()}, "at least 1"),
        ({"lowest": float("nan")}, "finite|greater"),
    ],
)
def test_ramps_that_do_not_fit_are_refused(ramps: dict, told: str):
    whole = {"lowest": 0.1, "starts": (0, 1), "widths": (1, 1), "rises": (0.1, 0.1)}
    with pytest.raises(ValidationError, match=told):
        Isotonic.model_validate(whole | ramps)
