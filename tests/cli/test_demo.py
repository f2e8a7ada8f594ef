"""`dermdistill demo` goes all the way and says where everything is."""

import csv
import json
import re
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from dermdistill import specs
from dermdistill.cli import app, demo
from dermdistill.data.splits import read_splits
from dermdistill.predict.predictor import Predictor
from dermdistill.recipe import spec as recipe_spec
from dermdistill.recipe.shipped import find_recipe

TINY = {
    "name": "demo",
    "data": {"synthetic": {"images": 80, "size": 48}},
    "split": {"folds": 3},
    "teachers": [{
        "name": "teacher", "model": "mobilenetv3_small_050", "weights": "none", "image_size": 32,
        "drop_path_rate": 0.0, "train": {"epochs": 1, "batch_size": 16},
    }],
    "soften": {"views": 1},
    "students": [
        {"name": "student", "model": "repds", "image_size": 32, "train": {"epochs": 1, "batch_size": 16}},
        {"name": "alone", "model": "repds", "image_size": 32, "train": {"epochs": 1, "batch_size": 16},
         "labels": "none", "loss": {"kind": "ce"}},
    ],
    "evaluate": {"replicates": 100, "baseline": "alone"},
    "export": {"students": ["student"]},
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
    found = report["differences"]["student"]["auroc"]["value"]
    assert f"Soft labels changed the AUROC of student by {found:+.3f} [" in output


def test_its_predictions_are_of_the_held_out_images_by_the_bundle(shown):
    out, _ = shown
    with (out / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    held_out = read_splits(out / "splits.json").ids(0)
    assert [row["file"].rsplit("/", 1)[-1].removesuffix(".jpg") for row in rows] == held_out
    assert {row["status"] for row in rows} == {"ok"}
    (first,) = Predictor(out / "bundles" / "student").predict([rows[0]["file"]])
    assert float(rows[0]["p_melanoma"]) == pytest.approx(first.p_melanoma, abs=1e-6)


@pytest.mark.parametrize(("low", "value", "high", "told"), [
    (-0.02, 0.03, 0.08, "+0.030 [-0.020, +0.080]: the interval holds zero, so that 200 test images with 41 melanomas "
     "do not tell whether they help here."),
    (0.01, 0.05, 0.09, "+0.050 [+0.010, +0.090]: they helped here, on 200 test images with 41 melanomas."),
    (-0.09, -0.05, -0.01, "-0.050 [-0.090, -0.010]: they did harm here, on 200 test images with 41 melanomas."),
])  # fmt: skip
def test_it_tells_what_the_soft_labels_gave_and_when_that_is_not_known(low, value, high, told):
    difference = SimpleNamespace(low=low, value=value, high=high)
    report = SimpleNamespace(
        baseline="alone", data=SimpleNamespace(n=200, positives=41),
        differences={"teacher": {"auroc": difference}, "student": {"auroc": difference}},
    )  # fmt: skip
    work = SimpleNamespace(recipe=specs.parse(recipe_spec.Recipe, TINY, "tiny"))
    assert demo._lessons(work, report) == [f"Soft labels changed the AUROC of student by {told}"]
    report.baseline = "teacher"
    assert demo._lessons(work, report) == []


@pytest.mark.parametrize("name", ["demo", "demo-real"])
def test_the_demos_compare_with_the_student_that_has_no_soft_labels(name):
    recipe = recipe_spec.load_recipe(find_recipe(name))
    alone = {spec.name: spec for spec in recipe.students}[recipe.baseline]
    (taught,) = [spec for spec in recipe.students if spec.name != alone.name]
    assert (alone.labels, taught.labels) == ("none", "bank")
    assert alone.train == taught.train
