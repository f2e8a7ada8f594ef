"""Sections of the report beside its headline: thresholds elsewhere, tests, calibration, groups, diagnoses."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from dermdistill.classes import BINARY_CLASSES
from dermdistill.errors import InputError
from dermdistill.evaluate.analyses.operating import predictive_values
from dermdistill.evaluate.calibrators import METHODS
from dermdistill.evaluate.document import Report, load_report
from dermdistill.evaluate.inference import auroc_covariance, contrast, holm, mcnemar
from dermdistill.evaluate.report import evaluate
from dermdistill.evaluate.thresholds import realised
from dermdistill.probabilities import softmax

SETTINGS = {"margin": 0.02, "prevalence": [0.02, 0.1]}


@pytest.fixture
def models(make_model) -> dict:
    return {
        "teacher": make_model(3.0, seed=1), "student": make_model(2.8, seed=2),
        "binary": make_model(0.7, seed=3, classes=BINARY_CLASSES),
    }  # fmt: skip


@pytest.fixture
def tested(manifest: pd.DataFrame, models: dict) -> pd.DataFrame:
    return manifest[manifest["image_id"].isin(models["teacher"].ids("test"))].reset_index(drop=True)


MADE: dict[str, Report] = {}
"""The report that most tests look at, made once."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture
def report(manifest: pd.DataFrame, models: dict, folder: Path) -> Report:
    if "report" not in MADE:
        MADE["report"] = evaluate(manifest, models, folder, replicates=100, settings=SETTINGS)
    return MADE["report"]


def probabilities(report: Report, models: dict, name: str, tested: pd.DataFrame) -> np.ndarray:
    model = models[name]
    logits = model.logits(tested["image_id"])
    return softmax(logits, report.models[name].temperature)[:, model.classes.index("mel")]


def test_the_report_is_read_again(report: Report, folder: Path):
    assert load_report(folder / "report.json") == report


@given(
    found=st.integers(1, 50), missed=st.integers(0, 50), false=st.integers(0, 500), right=st.integers(1, 500)
)  # fmt: skip
def test_at_the_samples_own_prevalence_bayes_gives_the_samples_own_values(found, missed, false, right):
    n = found + missed + false + right
    sensitivity, specificity = np.array([found / (found + missed)]), np.array([right / (right + false)])
    of = predictive_values(sensitivity, specificity, (found + missed) / n)
    assert of["ppv"][0] == pytest.approx(found / (found + false))
    assert of["npv"][0] == pytest.approx(right / (right + missed))
    assert of["number_needed"][0] == pytest.approx((found + false) / found)


def test_predictive_values_by_hand():
    # of 10,000 lesions 200 are melanomas: 180 are found and 20 missed, 1,960 of 9,800 others are above the threshold
    of = predictive_values(np.array([0.9]), np.array([0.8]), 0.02)
    assert of["ppv"][0] == pytest.approx(180 / 2140)
    assert of["npv"][0] == pytest.approx(7840 / 7860)
    assert of["number_needed"][0] == pytest.approx(2140 / 180)
    nothing = predictive_values(np.array([0.0]), np.array([1.0]), 0.02)
    assert np.isnan(nothing["ppv"][0])
    assert np.isnan(nothing["number_needed"][0])
    assert nothing["npv"][0] == pytest.approx(0.98)


def test_thresholds_elsewhere(report: Report, models: dict, tested: pd.DataFrame):
    section = report.operating
    assert section.prevalence == pytest.approx(tested["melanoma"].mean())
    point = section.models["student"]["sensitivity_95"]
    p, y = probabilities(report, models, "student", tested), tested["melanoma"].to_numpy()
    threshold = report.models["student"].thresholds["sensitivity_95"].value
    assert point.flagged.value == pytest.approx((p >= threshold).mean())
    own = realised(p, y, threshold)
    assert report.models["student"].realised["sensitivity_95"]["number_needed"].value == pytest.approx(1 / own["ppv"])
    for there, prevalence in zip(point.elsewhere, SETTINGS["prevalence"], strict=True):
        odds = prevalence / (1 - prevalence)
        likelihood = own["sensitivity"] / (1 - own["specificity"])
        assert there.ppv.value == pytest.approx(odds * likelihood / (1 + odds * likelihood))
        assert there.ppv.low <= there.ppv.value <= there.ppv.high
        assert there.number_needed.value == pytest.approx(1 / there.ppv.value)


def test_the_readers_sensitivity_is_chosen_on_validation(report: Report, manifest, models, tmp_path: Path):
    point = report.models["teacher"].thresholds["dermatologist"]
    assert point.sensitivity >= 0.866
    assert report.operating.readers.specificity == 0.713
    ours = {"sensitivity": 0.5, "specificity": 0.9, "source": "our panel, 2026"}
    other = evaluate(manifest, models, tmp_path / "other", replicates=100, settings={"readers": ours})
    assert 0.5 <= other.models["teacher"].thresholds["dermatologist"].sensitivity < point.sensitivity
    assert "our panel, 2026" in (tmp_path / "other" / "report.html").read_text()


def test_tests_against_the_baseline(report: Report, models: dict, tested: pd.DataFrame):
    y = tested["melanoma"].to_numpy()
    p = {name: probabilities(report, models, name, tested) for name in models}
    cluster = tested["lesion_id"].str.cat(tested["source"]).factorize()[0]
    found = {}
    for name in ("student", "binary"):
        of = contrast(auroc_covariance(y, np.stack([p[name], p["teacher"]]), cluster), 0, 1)
        test = report.paired.models[name].auroc
        assert test.value == pytest.approx(roc_auc_score(y, p[name]) - roc_auc_score(y, p["teacher"]))
        assert (test.low, test.high, test.p) == pytest.approx((of.low, of.high, of.p))
        assert report.paired.models[name].non_inferiority.shown == (of.low > -0.02)
        assert report.paired.models[name].non_inferiority.p == pytest.approx(of.p_above(-0.02))
        found[name] = test
    adjusted = [of.p_holm for of in found.values()]
    assert adjusted == pytest.approx(holm([of.p for of in found.values()]))
    assert not report.paired.models["binary"].non_inferiority.shown


def test_mcnemar_at_the_operating_points(report: Report, models: dict, tested: pd.DataFrame):
    y = tested["melanoma"].to_numpy() == 1
    decisions = {}
    for name in ("student", "teacher"):
        threshold = report.models[name].thresholds["specificity_90"].value
        decisions[name] = probabilities(report, models, name, tested) >= threshold
    for side, section in (
        (True, report.paired.models["student"].melanomas),
        (False, report.paired.models["student"].others),
    ):
        ours, theirs = decisions["student"] == side, decisions["teacher"] == side
        counts = int((ours & ~theirs & (y == side)).sum()), int((theirs & ~ours & (y == side)).sum())
        test = section["specificity_90"]
        assert (test.only_model, test.only_baseline, test.n) == (*counts, (y == side).sum())
        assert (test.exact, test.mid_p) == mcnemar(*counts)
        assert test.p_holm >= test.mid_p


def test_a_margin_is_not_made_up(manifest: pd.DataFrame, models: dict, tmp_path: Path):
    report = evaluate(manifest, models, tmp_path, replicates=100)
    assert report.paired.margin is None
    assert report.paired.models["student"].non_inferiority is None
    assert "nothing is said of non-inferiority" in (tmp_path / "report.html").read_text()
    alone = evaluate(manifest, {"teacher": models["teacher"]}, tmp_path, replicates=100)
    assert alone.paired is None


def test_calibration_before_and_after(report: Report, models: dict, tested: pd.DataFrame):
    assert report.calibration.fitted_on == "validation"
    y = tested["melanoma"].to_numpy()
    for name, ways in report.calibration.models.items():
        assert set(ways) == {"before", "used", *METHODS}
        before = softmax(models[name].logits(tested["image_id"]))[:, models[name].classes.index("mel")]
        assert ways["before"].log_loss.value == pytest.approx(log_loss(y, before), rel=1e-5)
        assert ways["before"].gain is None
        assert ways["used"].log_loss.value == pytest.approx(ways["temperature"].log_loss.value)
        for of in ways.values():
            if of.gain is not None:
                expected = of.log_loss.value - ways["before"].log_loss.value
                assert of.gain.value == pytest.approx(expected, abs=1e-6)


def test_calibration_learns_nothing_from_the_judged_images(report: Report, manifest, models, tmp_path: Path):
    """Other labels of the judged images change nothing that was fitted, and so no share above the thresholds."""
    tested = manifest["image_id"].isin(models["teacher"].ids("test"))
    turned = manifest.copy()
    for column in ("diagnosis", "melanoma"):
        turned.loc[tested, column] = manifest.loc[tested, column].to_numpy()[::-1]
    after = evaluate(turned, models, tmp_path / "after", replicates=100, settings=SETTINGS)
    for name, points in report.operating.models.items():
        for key, point in points.items():
            assert after.operating.models[name][key].flagged.value == point.flagged.value
    y = turned.loc[tested, "melanoma"].to_numpy(float)
    sure = after.calibration.models["student"]["isotonic"]
    assert sure.brier.value > report.calibration.models["student"]["isotonic"].brier.value
    assert y.sum() == report.data.positives


def test_without_validation_images_other_lesions_calibrate(manifest: pd.DataFrame, models: dict, tmp_path: Path):
    only = {name: replace(model, table=model.table[model.table["role"] == "test"]) for name, model in models.items()}
    section = evaluate(manifest, only, tmp_path, replicates=100).calibration
    assert section.fitted_on == "cross-fitted"
    assert set(section.models["student"]) == {"before", "used", *METHODS}
    assert "on other lesions than those that it is applied to" in (tmp_path / "report.html").read_text()


def test_groups_have_rates_and_gaps(report: Report, models: dict, tested: pd.DataFrame):
    p, y = probabilities(report, models, "student", tested), tested["melanoma"].to_numpy()
    threshold = report.models["student"].thresholds["sensitivity_95"].value
    areas, sensitivities = {}, {}
    for sex in ("female", "male"):
        of = (tested["sex"] == sex).to_numpy(bool)
        group = report.groups.groups[f"sex: {sex}"]
        got = realised(p[of], y[of], threshold)
        assert (group.n, group.positives) == (of.sum(), y[of].sum())
        assert group.models["student"].sensitivity.value == pytest.approx(got["sensitivity"])
        assert group.models["student"].specificity.value == pytest.approx(got["specificity"])
        areas[f"sex: {sex}"], sensitivities[f"sex: {sex}"] = roc_auc_score(y[of], p[of]), got["sensitivity"]
    gap = report.groups.gaps["student"]["sex"]["auroc"]
    assert gap.gap.value == pytest.approx(max(areas.values()) - min(areas.values()))
    assert gap.best == max(areas, key=areas.get)
    assert report.groups.gaps["student"]["sex"]["sensitivity"].gap.value == pytest.approx(
        max(sensitivities.values()) - min(sensitivities.values())
    )


def test_a_small_group_has_no_figure(report: Report):
    small = report.groups.groups["site: scalp"]
    assert small.positives < 10
    assert small.models["student"].sensitivity.value is None
    assert small.models["student"].sensitivity.reason == f"needs 10 melanomas, has {small.positives}"
    assert "site" not in report.groups.gaps["student"] or "sensitivity" not in report.groups.gaps["student"]["site"]


def test_a_column_of_ones_own_makes_groups(manifest: pd.DataFrame, models: dict, tmp_path: Path):
    cameras = np.resize(["old", "new", None], len(manifest))
    told = evaluate(
        manifest.assign(camera=cameras), models, tmp_path, replicates=100, settings={"subgroups": ["camera"]}
    )
    assert {"camera: old", "camera: new"} <= set(told.groups.groups)
    assert "camera: old" in told.models["student"].subgroups
    assert "camera" in told.groups.gaps["student"]
    with pytest.raises(InputError, match="camera"):
        evaluate(manifest, models, tmp_path, replicates=100, settings={"subgroups": ["camera"]})
    many = manifest.assign(camera=[str(number) for number in range(len(manifest))])
    with pytest.raises(InputError, match="at most 50"):
        evaluate(many, models, tmp_path, replicates=100, settings={"subgroups": ["camera"]})


def test_every_other_diagnosis(report: Report, models: dict, tested: pd.DataFrame):
    p, y = probabilities(report, models, "student", tested), tested["melanoma"].to_numpy()
    threshold = report.models["student"].thresholds["specificity_90"].value
    counts = tested.loc[y == 0, "diagnosis"].value_counts()
    assert set(report.benign.diagnoses) == set(counts.index)
    for diagnosis, section in report.benign.diagnoses.items():
        here = (tested["diagnosis"] == diagnosis).to_numpy(bool)
        against = section.models["student"]
        if here.sum() < 10:
            assert against.auroc.value is None
            assert against.specificity["specificity_90"].value is None
            assert against.specificity["specificity_90"].reason == f"needs 10 images of the diagnosis, has {here.sum()}"
            continue
        of = here | (y == 1)
        assert against.auroc.value == pytest.approx(roc_auc_score(y[of], p[of]))
        assert against.specificity["specificity_90"].value == pytest.approx((p[here] < threshold).mean())
    assert sum(section.n for section in report.benign.diagnoses.values()) == (y == 0).sum()


def test_unknown_diagnoses_make_no_section(manifest: pd.DataFrame, make_model, tmp_path: Path):
    told = evaluate(
        manifest.assign(diagnosis=pd.NA), {"m": make_model(classes=BINARY_CLASSES)}, tmp_path, replicates=100
    )
    assert told.benign is None
    assert 'id="benign"' not in (tmp_path / "report.html").read_text()


def test_the_page_has_a_part_for_each(report: Report, folder: Path):
    page = (folder / "report.html").read_text()
    for key in ("operating", "paired", "calibration", "groups", "benign"):
        assert f'<h2 id="{key}">' in page
        assert f'<a href="#{key}">' in page
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    assert "sensitivity 95 %" in text
    assert "of 58 dermatologists on dermoscopic images alone (Haenssle et al." in text


def test_figures_without_melanomas_are_absent_with_a_reason(manifest: pd.DataFrame, models: dict, tmp_path: Path):
    tested = manifest["image_id"].isin(models["teacher"].ids("test"))
    kept = manifest[~tested | (manifest["melanoma"] == 0)].reset_index(drop=True)
    few = {
        name: replace(model, table=model.table[model.table["image_id"].isin(kept["image_id"])])
        for name, model in models.items()
    }
    report = evaluate(kept, few, tmp_path, replicates=100, settings=SETTINGS)
    assert report.paired.models["student"].auroc.reason
    assert report.paired.models["student"].melanomas == {}
    assert report.operating.models["student"]["sensitivity_95"].elsewhere[0].ppv.reason
    assert report.calibration.models["student"]["used"].slope.reason
    assert report.groups.gaps["student"].keys() <= {"source", "sex", "site", "age"}
    json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
