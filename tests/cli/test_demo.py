"""`dermdistill demo` goes all the way and says where everything is."""

import csv
import json
import re

import pytest
from typer.testing import CliRunner

from dermdistill import specs
from dermdistill.cli import app
from dermdistill.data.splits import read_splits
from dermdistill.predict.predictor import Predictor
from dermdistill.recipe import spec as recipe_spec

TINY = {
    "name": "demo",
    "data": {"synthetic": {"images": 80, "size": 48}},
    "split": {"folds": 3},
    "teachers": [{
        "name": "teacher", "model": "mobilenetv3_small_050", "weights": "none", "image_size": 32,
        "drop_path_rate": 0.0, "train": {"epochs": 1, "batch_size": 16},
    }],
    "soften": {"views": 1},
    "students": [{"name": "student", "model": "repds", "image_size": 32, "train": {"epochs": 1, "batch_size": 16}}],
    "evaluate": {"replicates": 100},
}  # fmt: skip


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The work folder and what `dermdistill demo` printed, with a recipe for seconds instead of minutes."""
    asked = []

    def load(path):
        asked.append(path.name)
        return specs.parse(recipe_spec.Recipe, TINY, "tiny")

    out = tmp_path_factory.mktemp("demo") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe_spec, "load_recipe", load)
        arguments = ["demo", "--out", str(out), "--accelerator", "cpu"]
        done = CliRunner().invoke(app, arguments, env={"COLUMNS": "300"}, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert asked == ["demo.toml"]
    return out, done.output


def test_it_says_where_report_bundle_and_predictions_are(shown):
    out, output = shown
    for what, path in (
        ("report", out / "report" / "report.html"),
        ("bundle", out / "bundles" / "student"),
        ("predictions", out / "predictions.csv"),
    ):
        assert re.search(rf"^{what} +{re.escape(str(path))}", output, re.MULTILINE), output
        assert path.exists()
    assert re.search(r"^time +\d+\.\d minutes on \d+ cores$", output, re.MULTILINE)


def test_it_shows_the_key_figures_and_that_they_are_of_synthetic_images(shown):
    out, output = shown
    report = json.loads((out / "report" / "report.json").read_text())
    rows = [line.split() for line in output.splitlines()]
    assert ["model", *report["models"]] in rows
    assert ["AUROC", *(f"{entry['metrics']['auroc']['value']:.3f}" for entry in report["models"].values())] in rows
    assert "These figures are of synthetic images" in output


def test_its_predictions_are_of_the_held_out_images_by_the_bundle(shown):
    out, _ = shown
    with (out / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    held_out = read_splits(out / "splits.json").ids(0)
    assert [row["file"].rsplit("/", 1)[-1].removesuffix(".jpg") for row in rows] == held_out
    assert {row["status"] for row in rows} == {"ok"}
    (first,) = Predictor(out / "bundles" / "student").predict([rows[0]["file"]])
    assert float(rows[0]["p_melanoma"]) == pytest.approx(first.p_melanoma, abs=1e-6)
