"""`dermdistill compare`: bundles, and what was predicted elsewhere, on the same images."""

import json
from pathlib import Path
from shutil import copytree

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.data.synthetic.generate import generate
from dermdistill.data.training_keys import NAME as KEYS
from dermdistill.data.training_keys import write_training_keys
from dermdistill.errors import InputError
from dermdistill.export.answers import answers
from dermdistill.files import read_json, sha256_file, write_json
from dermdistill.predict.bundle import shipped_bundles
from dermdistill.predict.predictor import Predictor

NAME = "lite0-cut-64"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> pd.DataFrame:
    return generate(tmp_path_factory.mktemp("made"), n=60, size=64)


def manifest_of(made: pd.DataFrame) -> Path:
    return Path(made["path"].iloc[0]).parents[1] / "manifest.parquet"


def call(*given: object):
    return CliRunner().invoke(app, ["compare", *map(str, given), "--replicates", "100"])


def test_a_bundle_answers_as_predict_does(made: pd.DataFrame):
    found = answers(NAME, made)
    predictor = Predictor(NAME)
    (first,) = predictor.predict(made["path"].iloc[0])
    row = np.exp(found.logits(made["image_id"].iloc[:1]))[0]
    assert row[found.classes.index("mel")] == pytest.approx(first.p_melanoma, abs=1e-6)
    thresholds = predictor.bundle.spec.thresholds
    assert {name: point.value for name, point in found.chosen.thresholds.items()} == {
        name: point.value for name, point in thresholds.items()
    }


def test_bundles_and_tables_side_by_side(made: pd.DataFrame, tmp_path: Path):
    table = pd.DataFrame({
        "image_id": made["image_id"], "role": "test", "logit_other": 0.0,
        "logit_mel": np.random.default_rng(0).normal(size=len(made)),
    })[5:]  # fmt: skip
    table.to_csv(tmp_path / "theirs.csv", index=False)
    done = call(NAME, f"again={NAME}", tmp_path / "theirs.csv", "--on", manifest_of(made), "--out", tmp_path / "report")
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert list(report["models"]) == [NAME, "again", "theirs"]
    assert report["baseline"] == NAME
    judged = made.iloc[5:]
    p = [result.p_melanoma for result in Predictor(NAME).predict(list(judged["path"]))]
    assert report["models"][NAME]["metrics"]["auroc"]["value"] == pytest.approx(roc_auc_score(judged["melanoma"], p))
    assert report["paired"]["models"]["again"]["auroc"]["value"] == 0
    assert report["data"]["left_out"] == {NAME: 5, "again": 5}
    # a bundle's own thresholds are applied, not others
    default = Predictor(NAME).bundle.spec.thresholds["sensitivity_95"].value
    assert report["models"][NAME]["thresholds"]["sensitivity_95"]["value"] == default
    flagged = report["operating"]["models"][NAME]["sensitivity_95"]["flagged"]["value"]
    assert flagged == pytest.approx((np.array(p) >= default).mean())
    assert NAME in (tmp_path / "report" / "report.html").read_text()


def test_images_that_a_bundle_has_learned_from_are_refused(made: pd.DataFrame, tmp_path: Path):
    bundle = copytree(shipped_bundles()[NAME], tmp_path / "bundle")
    learned = made["image_id"].iloc[:1]
    write_training_keys(made[made["image_id"].isin(learned)], bundle / KEYS)
    header = read_json(bundle / "bundle.json")
    header["files"][KEYS] = sha256_file(bundle / KEYS)
    write_json(bundle / "bundle.json", header)
    given = [f"own={bundle}", "--on", manifest_of(made), "--out", tmp_path / "report", "--samples", 0]
    refused = call(*given)
    assert isinstance(refused.exception, InputError)
    assert "own: " in str(refused.exception)
    assert learned.iloc[0] in str(refused.exception)
    assert not (tmp_path / "report").exists()
    assert call(*given, "--allow-overlap").exit_code == 0
    overlap = json.loads((tmp_path / "report" / "report.json").read_text())["overlap"]["own"]
    assert overlap["shared"]["exact copy"] == 1


@pytest.mark.parametrize(
    ("models", "message"),
    [(["no-such-model"], "no bundle at no-such-model"), ([NAME, NAME], "two models are called"), (["=x"], "NAME=PATH")],
)
def test_models_that_do_not_fit(made: pd.DataFrame, tmp_path: Path, models: list[str], message: str):
    done = call(*models, "--on", manifest_of(made), "--out", tmp_path)
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)


def test_images_that_are_gone(made: pd.DataFrame):
    gone = made.assign(path="nowhere.jpg")
    with pytest.raises(InputError, match="none of the 60 images can be judged"):
        answers(NAME, gone)
