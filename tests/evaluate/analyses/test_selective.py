"""Abstaining: risk against coverage, and the guarantee of conformal sets with its limits."""

import numpy as np
import pandas as pd
import pytest

from dermdistill.evaluate.analyses.selective import covered, least_accepted, limits, risk_coverage, selective
from dermdistill.evaluate.comparison import gather
from dermdistill.evaluate.spec import EvaluateSpec


def test_risk_is_that_of_counting_without_ties():
    rng = np.random.default_rng(0)
    certainty, wrong = rng.permutation(200).astype(float), rng.random(200) < 0.3
    order = sorted(range(200), key=lambda index: -certainty[index])
    expected = [sum(wrong[index] for index in order[: k + 1]) / (k + 1) for k in range(200)]
    np.testing.assert_allclose(risk_coverage(certainty, wrong), expected, atol=1e-12)


def test_with_ties_risk_is_the_mean_over_their_orders():
    rng = np.random.default_rng(1)
    certainty, wrong = rng.integers(0, 5, 40).astype(float), rng.random(40) < 0.4
    drawn = [risk_coverage(certainty + 1e-6 * rng.random(40), wrong) for _ in range(4000)]
    np.testing.assert_allclose(risk_coverage(certainty, wrong), np.mean(drawn, axis=0), atol=0.02)


def test_the_best_order_in_closed_form():
    """With n images and w wrong ones, risk is 0 up to n - w and then (k - n + w) / k (Geifman et al. 2019)."""
    wrong = np.arange(50) >= 40
    expected = [max(0, k - 40) / k for k in range(1, 51)]
    np.testing.assert_allclose(risk_coverage(-wrong.astype(float), wrong), np.where(
        np.arange(1, 51) <= 40, 0, expected
    ), atol=1e-12)  # fmt: skip


@pytest.mark.parametrize(("n", "alpha"), [(19, 0.05), (40, 0.1), (99, 0.05)])
def test_a_new_image_is_missed_exactly_as_often_as_theory_says(n: int, alpha: float):
    """k / (n + 1) with k = floor(alpha (n + 1)), whatever the distribution."""
    rng = np.random.default_rng(0)
    missed = [
        rng.exponential() < least_accepted(rng.exponential(size=n), alpha)
        for _ in range(20_000)
    ]  # fmt: skip
    expected = np.floor(alpha * (n + 1) + 1e-12) / (n + 1)
    assert np.mean(missed) == pytest.approx(expected, abs=4 * np.sqrt(expected / 20_000))
    assert expected <= alpha + 1e-12


def test_too_few_images_accept_everything():
    assert least_accepted(np.arange(18.0), 0.05) == -np.inf
    assert least_accepted(np.arange(19.0), 0.05) == 0


def test_limits_and_coverage_worked_by_hand():
    p, y = np.array([0.1, 0.2, 0.3, 0.9, 0.4, 0.6, 0.7, 0.8]), np.array([0, 0, 0, 0, 1, 1, 1, 1])
    low, high = limits(p, y, 0.2)  # the smallest of 4 and the largest of 4
    assert (low, high) == (0.4, 0.9)
    found = covered(np.array([0.3, 0.5, 0.95, 0.2]), np.array([1, 1, 0, 0]), low, high)
    np.testing.assert_allclose(found, [0.5, 0.5, 0.75, 0.25, 0])
    np.testing.assert_allclose(covered(np.array([0.5]), np.array([1]), 0.6, 0.4), [0, np.nan, 0, 0, 1])


def test_the_guarantee_holds_on_halves_and_fails_where_a_source_differs(manifest: pd.DataFrame, make_model):
    model = make_model()
    spec = EvaluateSpec(replicates=100)
    usual = selective(gather(manifest, {"a": model}, spec))["a"]
    for of in usual.conformal:
        assert of.halves is not None
        assert of.halves.melanoma >= of.guaranteed - 0.01
        assert of.halves.other >= of.guaranteed - 0.01
    table = model.table.copy()
    second = manifest.set_index("image_id").loc[table["image_id"], "source"].to_numpy() == "second"
    table.loc[second, "logit_mel"] -= 4  # a camera on which melanomas look harmless
    shifted = selective(gather(manifest, {"a": type(model)(model.classes, table)}, spec))["a"]
    assert set(shifted.conformal[0].shifted) == {"first", "second"}
    assert shifted.conformal[0].shifted["second"].melanoma < 0.6
    assert shifted.conformal[0].halves.melanoma >= 0.89


def test_abstaining_pays_for_a_good_model(manifest: pd.DataFrame, make_model):
    found = selective(
        gather(manifest, {"good": make_model(3.0), "poor": make_model(0.3)}, EvaluateSpec(replicates=100))
    )
    for entry in found.values():
        assert entry.best <= entry.aurc
        assert [kept.coverage for kept in entry.kept] == pytest.approx([1, 0.9, 0.8, 0.7, 0.5], abs=0.01)
        assert entry.kept[0].error == pytest.approx(entry.curve[-1][1])
    assert found["good"].aurc < found["poor"].aurc
    assert found["good"].kept[-1].error < found["good"].kept[0].error
