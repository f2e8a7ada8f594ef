import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from dermdistill.evaluate.metrics import LABELS, METRICS, Scored


def scored(n: int = 300, seed: int = 0, ties: bool = True) -> Scored:
    generator = np.random.default_rng(seed)
    diagnosis = generator.integers(0, 7, n)
    y = (diagnosis == 4).astype(float)
    p = 1 / (1 + np.exp(-(generator.normal(size=n) + 2 * y - 2)))
    predicted = np.where(generator.random(n) < 0.6, diagnosis, generator.integers(0, 7, n))
    return Scored(np.round(p, 2) if ties else p, y, predicted, diagnosis)


def value(name: str, part: Scored) -> float:
    return float(METRICS[name](part, np.ones((1, len(part.y))))[0])


def repeated(part: Scored, weights: np.ndarray) -> Scored:
    """The images themselves, each as often as its weight says."""
    rows = np.repeat(np.arange(len(part.y)), weights.astype(int))
    predicted = None if part.predicted is None else part.predicted[rows]
    return Scored(part.p[rows], part.y[rows], predicted, None if part.diagnosis is None else part.diagnosis[rows])


@pytest.mark.parametrize("ties", [True, False])
def test_values_agree_with_scikit_learn(ties: bool):
    part = scored(ties=ties)
    assert value("auroc", part) == pytest.approx(reference.roc_auc_score(part.y, part.p))
    assert value("average_precision", part) == pytest.approx(reference.average_precision_score(part.y, part.p))
    assert value("brier", part) == pytest.approx(reference.brier_score_loss(part.y, part.p))
    assert value("accuracy", part) == pytest.approx(reference.accuracy_score(part.diagnosis, part.predicted))
    balanced = reference.balanced_accuracy_score(part.diagnosis, part.predicted)
    assert value("balanced_accuracy", part) == pytest.approx(balanced)
    fall_out, sensitivity, _ = reference.roc_curve(part.y, part.p, drop_intermediate=False)
    assert value("sensitivity_at_specificity_90", part) == pytest.approx(sensitivity[fall_out <= 0.1].max())
    assert value("specificity_at_sensitivity_95", part) == pytest.approx(1 - fall_out[sensitivity >= 0.95].min())


def kaggle_partial_area(y: np.ndarray, p: np.ndarray, least: float = 0.8) -> float:
    """The score of the ISIC 2024 challenge: the ROC curve turned round, scikit-learn's McClish scaling taken back."""
    most = 1 - least
    scaled = reference.roc_auc_score(1 - y, -p, max_fpr=most)
    return 0.5 * most**2 + (most - 0.5 * most**2) / 0.5 * (scaled - 0.5)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(20, 200), digits=st.integers(1, 12))
def test_agreement_with_scikit_learn_on_random_inputs(seed: int, n: int, digits: int):
    generator = np.random.default_rng(seed)
    diagnosis = generator.permutation(np.resize(np.arange(7), n))
    y = (diagnosis == 4).astype(float)
    p = np.round(1 / (1 + np.exp(-(generator.normal(size=n) + generator.normal() * y))), digits)
    predicted = np.where(generator.random(n) < 0.6, diagnosis, generator.integers(0, 7, n))
    part = Scored(p, y, predicted, diagnosis)
    expected = {
        "auroc": reference.roc_auc_score(y, p),
        "partial_auroc": kaggle_partial_area(y, p),
        "average_precision": reference.average_precision_score(y, p),
        "brier": reference.brier_score_loss(y, p),
        "log_loss": reference.log_loss(y, p, labels=[0, 1]),
        "accuracy": reference.accuracy_score(diagnosis, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(diagnosis, predicted),
    }
    for name, wanted in expected.items():
        assert value(name, part) == pytest.approx(wanted, abs=1e-9), name


def test_partial_area_by_hand():
    # 5 melanomas, 2 others, in the order + + + - + - +: the curve reaches 0.8 at half the others, and 1 at all
    part = Scored(np.arange(7, 0, -1) / 8, np.array([1.0, 1, 1, 0, 1, 0, 1]), None, None)
    assert value("partial_auroc", part) == pytest.approx(0, abs=1e-12)
    # with the last two exchanged it is 1 from half the others on
    part = Scored(np.arange(7, 0, -1) / 8, np.array([1.0, 1, 1, 0, 1, 1, 0]), None, None)
    assert value("partial_auroc", part) == pytest.approx(0.5 * 0.2)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "ece"])
def test_a_weight_is_a_repetition(name: str):
    """Except for the ECE, whose bins stay those of the images as they are."""
    part = scored()
    weights = np.random.default_rng(1).integers(0, 4, (5, len(part.y))).astype(float)
    expected = [value(name, repeated(part, row)) for row in weights]
    np.testing.assert_allclose(METRICS[name](part, weights), expected, rtol=1e-12)


def test_by_hand():
    p, y = np.array([0.9, 0.8, 0.7, 0.6]), np.array([1.0, 0, 1, 0])
    part = Scored(p, y, np.array([4, 4, 5, 5]), np.array([4, 5, 4, 5]))
    assert value("auroc", part) == pytest.approx(3 / 4)
    assert value("average_precision", part) == pytest.approx((1 + 2 / 3) / 2)
    assert value("sensitivity_at_specificity_90", part) == pytest.approx(1 / 2)
    assert value("specificity_at_sensitivity_95", part) == pytest.approx(1 / 2)
    assert value("accuracy", part) == pytest.approx(1 / 2)


def test_a_perfect_model():
    y = np.repeat([0.0, 1.0], [30, 10])
    part = Scored(y.copy(), y, np.repeat([5, 4], [30, 10]), np.repeat([5, 4], [30, 10]))
    found = {name: value(name, part) for name in METRICS}
    log_loss, area = found.pop("log_loss"), found.pop("partial_auroc")
    assert log_loss == pytest.approx(0, abs=1e-12)
    assert area == pytest.approx(0.2)
    assert found == {name: 0 if name in ("brier", "ece") else 1 for name in found}


def test_brier_by_hand():
    part = Scored(np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0, 0.0]), None, None)
    assert value("brier", part) == pytest.approx((0 + 0.25 + 1) / 3)


def test_a_model_that_knows_nothing():
    part = Scored(np.full(40, 0.25), np.repeat([0.0, 1.0], [30, 10]), None, None)
    assert value("auroc", part) == pytest.approx(0.5)
    assert value("average_precision", part) == pytest.approx(0.25)
    assert value("sensitivity_at_specificity_90", part) == 0
    assert value("specificity_at_sensitivity_95", part) == 0
    assert value("brier", part) == pytest.approx(0.25 * 0.75)
    assert value("ece", part) == pytest.approx(0)
    assert value("partial_auroc", part) == pytest.approx(0.2**2 / 2)
    assert value("log_loss", part) == pytest.approx(-0.25 * np.log(0.25) - 0.75 * np.log(0.75))


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_leaves_the_curve_undefined(label: float):
    part = Scored(np.array([0.2, 0.8]), np.full(2, label), None, None)
    for name in (
        "auroc",
        "partial_auroc",
        "average_precision",
        "sensitivity_at_specificity_90",
        "specificity_at_sensitivity_95",
    ):
        assert np.isnan(value(name, part)), name
    assert value("brier", part) == pytest.approx((0.04 + 0.64) / 2)


def test_undefined_in_one_replicate_only():
    part = Scored(np.array([0.2, 0.8, 0.5]), np.array([0.0, 1.0, 0.0]), None, None)
    found = METRICS["auroc"](part, np.array([[1.0, 1, 1], [2, 0, 1], [0, 3, 0]]))
    np.testing.assert_array_equal(found, [1, np.nan, np.nan])


def test_balanced_accuracy_is_over_the_classes_present():
    # class 0 right in 1 of 2, class 1 in 2 of 2; class 3 is predicted but never present
    part = Scored(np.zeros(4), np.zeros(4), np.array([0, 3, 1, 1]), np.array([0, 0, 1, 1]))
    assert value("balanced_accuracy", part) == pytest.approx(0.75)


def test_images_without_a_diagnosis_count_for_melanoma_only():
    part = Scored(np.array([0.9, 0.2, 0.1]), np.array([1.0, 0, 0]), np.array([4, 5, 5]), np.array([4, -1, 5]))
    assert value("accuracy", part) == 1
    assert value("balanced_accuracy", part) == 1
    assert value("brier", part) == pytest.approx((0.01 + 0.04 + 0.01) / 3)


def test_a_model_of_two_classes_has_no_seven_class_figure():
    part = Scored(np.array([0.2, 0.8]), np.array([0.0, 1.0]), None, np.array([5, 4]))
    assert np.isnan(value("accuracy", part))
    assert np.isnan(value("balanced_accuracy", part))


def test_every_metric_has_a_label():
    assert set(LABELS) == set(METRICS)
