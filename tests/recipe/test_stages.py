import json
import re

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.errors import InputError
from dermdistill.recipe.spec import load_recipe

RECIPE = """
name = "tiny"
[data]
synthetic = { images = 120, size = 48 }
[split]
folds = 3
[[teachers]]
name = "teacher"
weights = "none"
image_size = 32
drop_path_rate = 0.0
train = { epochs = 1, batch_size = 16 }
[soften]
views = 2
[[students]]
name = "from-bank"
model = "repds"
image_size = 32
train = { epochs = 2, batch_size = 16 }
[[students]]
name = "in-the-loop"
model = "repds"
image_size = 32
labels = "online"
train = { epochs = 1, batch_size = 16 }
[[students]]
name = "alone"
model = "dsnet"
image_size = 32
classes = "binary"
labels = "none"
loss = { kind = "ce" }
train = { epochs = 1, batch_size = 16, balance = "weights" }
[evaluate]
replicates = 100
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "tiny.toml").write_text(RECIPE)
    return folder


def _run(work, *options):
    arguments = ["run", str(work / "tiny.toml"), "--out", str(work / "out"), "--cache", str(work / "cache"), *options]
    return CliRunner().invoke(app, [*arguments, "--accelerator", "cpu"], catch_exceptions=False)


def _times(folder):
    """When each file was written, but for the log, which tells of every call."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != "log.txt"}


def test_a_recipe_goes_all_the_way_and_the_second_time_does_nothing(work):
    plan = _run(work, "--dry-run")
    assert plan.output.count("to do") == 9
    done = _run(work)
    assert done.exit_code == 0, done.output
    out = work / "out"
    report = json.loads((out / "report" / "report.json").read_text())
    assert set(report["models"]) == {"teacher", "from-bank", "in-the-loop", "alone"}
    assert report["data"]["synthetic"] is True
    assert "SYNTHETIC" in (out / "report" / "report.html").read_text()
    assert json.loads((out / "bundles" / "from-bank" / "bundle.json").read_text())["data"]["synthetic"] is True
    header = json.loads((out / "students" / "from-bank" / "run.json").read_text())
    assert header["inputs"]["bank"]
    assert header["status"] == "complete"
    assert header["parameters"] <= 270_000
    assert "done" in _run(work, "--dry-run").output
    assert "to do" not in _run(work, "--dry-run").output
    assert "student from-bank: 242,823 parameters" in (out / "log.txt").read_text()
    before = _times(out)
    assert _run(work).exit_code == 0
    assert _times(out) == before


def test_predictions_cover_validation_and_test_alone(work):
    table = pd.read_parquet(work / "out" / "students" / "alone" / "predictions.parquet")
    folds = json.loads((work / "out" / "splits.json").read_text())["folds"]
    roles = table["image_id"].map(folds).map({0: "test", 1: "validation"})
    assert (roles == table["role"]).all()
    assert list(table.columns) == ["image_id", "role", "logit_other", "logit_mel"]
    assert np.isfinite(table[["logit_other", "logit_mel"]].to_numpy()).all()


@pytest.mark.parametrize(("changed", "told"), [
    ("views = 2\nseed = 7", r"seed was 0 and is 7 now"),
    ("views = 2\nspec = { rotation = 10 }", r"spec\.rotation was 180\.0 and is 10\.0 now"),
])  # fmt: skip
def test_a_bank_of_other_views_is_refused_by_name(work, changed, told):
    """It was used in silence: `soften` ended well with the old one."""
    (work / "tiny.toml").write_text(RECIPE.replace("views = 2", changed))
    before = _times(work / "out")
    given = ["soften", str(work / "tiny.toml"), "--out", str(work / "out"), "--cache", str(work / "cache")]
    with pytest.raises(InputError, match=rf"soften: {told}\nchoose another --out"):
        CliRunner().invoke(app, [*given, "--accelerator", "cpu"], catch_exceptions=False)
    assert re.search(r"soften\W+differs", _run(work, "--dry-run").output)
    assert _times(work / "out") == before


def test_fewer_views_leave_the_bank_and_more_are_added(work):
    folder = work / "out" / "bank"
    given = ["soften", str(work / "tiny.toml"), "--out", str(work / "out"), "--cache", str(work / "cache")]
    before = _times(folder)
    for views, kept, told in ((1, True, "soften: done before"), (3, False, "soften: 3 views of")):
        (work / "tiny.toml").write_text(RECIPE.replace("views = 2", f"views = {views}"))
        done = CliRunner().invoke(app, [*given, "--accelerator", "cpu"], catch_exceptions=False)
        assert told in done.output
        assert (_times(folder) == before) is kept
    assert _times(folder)[folder / "bank.json"] == before[folder / "bank.json"]
    (work / "tiny.toml").write_text(RECIPE)
    assert "to do" not in _run(work, "--dry-run").output


def test_other_data_in_the_same_folder_are_refused(work):
    (work / "tiny.toml").write_text(RECIPE.replace("images = 120", "images = 130"))
    run = CliRunner().invoke(app, ["run", str(work / "tiny.toml"), "--out", str(work / "out")])
    assert isinstance(run.exception, InputError)
    assert "data: data.synthetic.images was 120 and is 130 now" in str(run.exception)
    (work / "tiny.toml").write_text(RECIPE.replace("epochs = 2,", "epochs = 3,"))
    run = CliRunner().invoke(
        app, ["run", str(work / "tiny.toml"), "--out", str(work / "out"), "--cache", str(work / "cache")]
    )
    assert isinstance(run.exception, InputError)
    assert "distill from-bank: recipe.train.epochs was 2 and is 3 now" in str(run.exception)
    plan = _run(work, "--dry-run").output
    assert re.search(r"distill from-bank\W+differs", plan)
    assert plan.count("What differs was made from something else") == 1
    assert re.search(r"distill alone\W+done", plan)


def test_all_errors_of_a_recipe_are_told_at_once(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(RECIPE.replace("folds = 3", "folds = 2\nfodls = 3").replace('"online"', '"onlin"'))
    with pytest.raises(InputError) as error:
        load_recipe(path)
    text = str(error.value)
    assert "split.fodls (line 7): unknown key; did you mean 'folds'?" in text
    assert "split.folds (line 6)" in text
    assert "students.1.labels" in text
    assert "'onlin'" in text


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('name = "alone"', 'name = "teacher"', "twice: teacher"),
        ('loss = { kind = "ce" }', 'loss = { kind = "kd" }', "leaves only loss.kind = 'ce'"),
        ("replicates = 100", 'baseline = "nobody"', "evaluate.baseline: no model is called 'nobody'"),
        (
            "epochs = 2, batch_size = 16",
            'epochs = 2, balance = "weights" }\nloss = { alpha = 0',
            "which loss.alpha = 0",
        ),
        ("folds = 3", "folds = 3\nvalidation = 0", "two different folds"),
        ("epochs = 2,", 'epochs = 2, precision = "bf16-mixed",', "one precision"),
    ],
)
def test_recipes_that_contradict_themselves(tmp_path, old, new, match):
    path = tmp_path / "bad.toml"
    path.write_text(RECIPE.replace(old, new))
    with pytest.raises(InputError, match=match):
        load_recipe(path)


def test_the_committed_recipes_load():
    from pathlib import Path

    root = Path(__file__).parents[2]
    recipes = [*root.glob("recipes/**/*.toml"), *root.glob("src/dermdistill/recipes/*.toml")]
    recipes = [path for path in recipes if path.parent.name != "khan2022"]  # these have settings of their own
    assert len(recipes) >= 3
    for path in recipes:
        load_recipe(path)
