import numpy as np
import pandas as pd
import pytest

from dermdistill.classes import BINARY_CLASSES, CLASSES
from dermdistill.errors import InputError
from dermdistill.evaluate.calibration import fit_temperature
from dermdistill.evaluate.intervals import clusters
from dermdistill.evaluate.thresholds import (
    PARTS,
    Threshold,
    apply_chosen,
    choose,
    choose_calibrated,
    cross_fit,
    diagnosis_codes,
    operating_points,
    realised,
    realised_weighted,
)
from dermdistill.probabilities import softmax

# 10 melanomas at 0.50, 0.55 … 0.95; 20 others at 0.00, 0.03 … 0.57
POSITIVES, NEGATIVES = 0.5 + 0.05 * np.arange(10), 0.03 * np.arange(20)
P, Y = np.concatenate([POSITIVES, NEGATIVES]), np.repeat([1, 0], [10, 20])


def _images(n: int = 600, seed: int = 0) -> tuple[np.ndarray, pd.DataFrame]:
    """Logits of seven classes that are too extreme, and the manifest's rows."""
    generator = np.random.default_rng(seed)
    codes = generator.integers(0, 7, n)
    logits = 4 * (generator.normal(size=(n, 7)) + 1.5 * (codes[:, None] == np.arange(7)))
    diagnosis = np.array(CLASSES)[codes]
    return logits, pd.DataFrame({"diagnosis": diagnosis, "melanoma": (diagnosis == "mel").astype(int)})


@pytest.mark.parametrize("method", ["vector", "dirichlet", "isotonic", "beta"])
@pytest.mark.parametrize("diagnosed", [True, False])
def test_thresholds_are_of_the_probabilities_after_the_calibration(method, diagnosed):
    logits, images = _images()
    if not diagnosed:
        images["diagnosis"] = pd.NA
    chosen = choose_calibrated(logits, CLASSES, images, method, "validation")
    assert (chosen.temperature, chosen.fitted_on) == (1.0, "diagnosis" if diagnosed else "melanoma")
    assert chosen.calibrated.map.method == method
    p = apply_chosen(chosen, logits).probabilities[:, 4]
    for name, point in chosen.thresholds.items():
        rounded = p.astype(np.float32).astype(float)  # as graphs have them
        got = realised(rounded, images["melanoma"], point.value)
        assert got["sensitivity"] == pytest.approx(point.sensitivity), name
        assert got["specificity"] == pytest.approx(point.specificity), name
    assert chosen.thresholds["sensitivity_95"].sensitivity >= 0.95


def test_a_temperature_is_chosen_as_ever():
    logits, images = _images(200)
    assert choose_calibrated(logits, CLASSES, images, "temperature", "out-of-fold") == choose(logits, CLASSES, images)


@pytest.mark.parametrize("method", ["temperature", "beta"])
def test_nothing_is_calibrated_on_a_test(method):
    logits, images = _images(50)
    with pytest.raises(InputError, match="never on those that are judged; got the role 'test'"):
        choose_calibrated(logits, CLASSES, images, method, "test")


def test_one_class_calibrates_nothing():
    logits, images = _images(50)
    others = images["melanoma"] == 0
    with pytest.raises(InputError, match="needs melanomas and others, got 0 melanomas of"):
        choose_calibrated(logits[others], CLASSES, images[others], "beta", "validation")


def test_operating_points_by_hand():
    points = operating_points(P, Y)
    # the second lowest melanoma keeps 9 of 10, and 19 of 20 others lie below it
    assert points["sensitivity_90"] == Threshold(pytest.approx(0.55), 0.9, pytest.approx(0.95), 30, 10)
    # 95 % of 10 melanomas are all 10; 0.51, 0.54 and 0.57 lie above the lowest of them
    assert points["sensitivity_95"] == Threshold(pytest.approx(0.50), 1.0, pytest.approx(0.85), 30, 10)
    # two others may be let through: those at 0.57 and 0.54
    assert points["specificity_90"] == Threshold(pytest.approx(0.54), 0.9, pytest.approx(0.90), 30, 10)
    assert points["specificity_95"] == Threshold(pytest.approx(0.55), 0.9, pytest.approx(0.95), 30, 10)
    assert points["youden"].sensitivity + points["youden"].specificity == pytest.approx(1.85)


def test_a_threshold_does_on_its_own_images_what_it_says():
    generator = np.random.default_rng(0)
    y = (generator.random(500) < 0.2).astype(int)
    p = np.round(generator.random(500) * 0.5 + 0.3 * y, 2)  # with many ties
    for name, point in operating_points(p, y).items():
        got = realised(p, y, point.value)
        assert got["sensitivity"] == pytest.approx(point.sensitivity)
        assert got["specificity"] == pytest.approx(point.specificity)
        aim, _, percent = name.partition("_")
        if percent:
            assert got[aim] >= int(percent) / 100
            # the next threshold on the other side does not reach it
            others = p[p > point.value] if aim == "sensitivity" else p[p < point.value]
            beyond = others.min() if aim == "sensitivity" else others.max()
            assert realised(p, y, beyond)[aim] < int(percent) / 100


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_gives_no_threshold_but_a_reason(label: int):
    for point in operating_points(np.array([0.1, 0.9]), np.array([label, label])).values():
        assert point.value is None
        assert point.reason == f"needs positives and negatives, got {2 * label} positives of 2"


def test_a_specificity_that_nothing_reaches():
    # the highest score is shared by all: calling it positive leaves a specificity of zero
    points = operating_points(np.full(4, 0.5), np.array([0, 1, 0, 1]))
    assert points["specificity_95"].value is None
    assert "highest score" in points["specificity_95"].reason
    assert points["sensitivity_95"].value == 0.5


def test_realised_by_hand():
    p, y = np.array([0.9, 0.8, 0.4, 0.3, 0.2]), np.array([1, 0, 1, 0, 0])
    expected = {"sensitivity": 1 / 2, "specificity": 2 / 3, "ppv": 1 / 2, "npv": 2 / 3, "number_needed": 2}
    assert realised(p, y, 0.8) == pytest.approx(expected)  # at the threshold counts as positive


def test_realised_is_none_where_undefined():
    assert realised(np.array([0.1, 0.2]), np.array([0, 0]), 0.5) == {
        "sensitivity": None, "specificity": 1.0, "ppv": None, "npv": 1.0, "number_needed": None,
    }  # fmt: skip


def images(diagnosis: list[str | None], melanoma: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"diagnosis": pd.array(diagnosis, "string"), "melanoma": melanoma})


def test_diagnosis_codes():
    assert diagnosis_codes(images(["akiec", None, "vasc"], [0, 0, 0])).tolist() == [0, -1, 6]


def test_choose_fits_on_diagnoses_where_they_are_known(manifest, make_model):
    logits = make_model().logits(manifest["image_id"])
    chosen = choose(logits, CLASSES, manifest)
    assert chosen.fitted_on == "diagnosis"
    assert chosen.temperature == fit_temperature(logits, diagnosis_codes(manifest))
    p = softmax(logits, chosen.temperature)[:, CLASSES.index("mel")]
    assert chosen.thresholds == operating_points(p, manifest["melanoma"].to_numpy())


def test_choose_without_a_diagnosis_fits_the_probability_that_is_used(manifest, make_model):
    logits, melanoma = make_model().logits(manifest["image_id"]), CLASSES.index("mel")
    manifest.loc[5, "diagnosis"] = pd.NA
    chosen = choose(logits, CLASSES, manifest)
    y = manifest["melanoma"].to_numpy()
    assert chosen.fitted_on == "melanoma"
    assert chosen.temperature == fit_temperature(logits, y, positive=melanoma)
    assert chosen.thresholds == operating_points(softmax(logits, chosen.temperature)[:, melanoma], y)


def test_choose_does_not_depend_on_the_order_of_two_classes(manifest, make_model):
    logits = make_model(classes=BINARY_CLASSES).logits(manifest["image_id"])
    there, back = choose(logits, ("other", "mel"), manifest), choose(logits[:, ::-1], ("mel", "other"), manifest)
    assert there.temperature == pytest.approx(back.temperature)
    assert there.thresholds["youden"].value == pytest.approx(back.thresholds["youden"].value)


def test_no_image_chooses_its_own_threshold(manifest: pd.DataFrame, make_model):
    model = make_model()
    logits, cluster = model.logits(manifest["image_id"]), clusters(manifest)
    before = cross_fit(logits, model.classes, manifest, cluster)
    values = before.thresholds["sensitivity_95"]
    assert len(set(values)) == PARTS
    for lesion in np.unique(cluster):
        assert len(set(values[cluster == lesion])) == 1
    part = values == values[0]
    changed = logits.copy()
    changed[part] *= 3
    after = cross_fit(changed, model.classes, manifest, cluster)
    assert (after.thresholds["sensitivity_95"][part] == values[part]).all()
    assert (after.thresholds["sensitivity_95"][~part] != values[~part]).all()
    assert after.probabilities[~part] != pytest.approx(before.probabilities[~part])


def test_too_few_lesions_to_divide(manifest: pd.DataFrame, make_model):
    few = manifest[:4]
    with pytest.raises(InputError, match="5 groups of lesions are needed, there are"):
        cross_fit(make_model().logits(few["image_id"]), CLASSES, few, clusters(few))


def test_each_image_may_have_a_threshold_of_its_own():
    p, y = np.array([0.2, 0.2, 0.8, 0.8]), np.array([0, 1, 0, 1])
    rates = realised_weighted(p, y, np.array([0.1, 0.3, 0.9, 0.5]), np.ones((1, 4)))
    assert rates["sensitivity"] == pytest.approx([0.5])
    assert rates["specificity"] == pytest.approx([0.5])
