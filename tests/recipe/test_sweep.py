"""Sweeps: what is tried, that test images are left alone, that stopped trials go on, and what is written."""

import csv
import json

import pytest
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.distillation.spec import StudentSpec
from dermdistill.errors import InputError
from dermdistill.recipe.space import Axis, check_axes, read_axes, with_values

RECIPE = """
name = "tiny"
[data]
synthetic = { images = 60, size = 48 }
[split]
folds = 3
[[students]]
name = "student"
model = "repds"
weights = "none"
image_size = 32
labels = "none"
loss = { kind = "ce" }
train = { epochs = 2, batch_size = 16 }
"""


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("train.learning_rate=1e-4..1e-2(log)", Axis("train.learning_rate", 1e-4, 1e-2, True)),
        ("train.batch_size=8..32", Axis("train.batch_size", 8, 32)),
        ("train.mixup=0..0.5", Axis("train.mixup", 0.0, 0.5)),
        ("loss.kind=kd,dkd", Axis("loss.kind", choices=("kd", "dkd"))),
        ("symmetries=true,false", Axis("symmetries", choices=(True, False))),
        ("image_size = 64, 96", Axis("image_size", choices=(64, 96))),
    ],
)
def test_a_key_and_its_values(text, axis):
    assert read_axes([text]) == [axis]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "needs at least one --set"),
        (["train.learning_rat=1..2"], "did you mean 'train.learning_rate'?"),
        (["name=a,b"], "a student has no key 'name'"),
        (["train.ema"], "expected KEY=LOW..HIGH"),
        (["train.ema=0.9"], "two different values"),
        (["train.ema=0.9..x"], "'x' is no number"),
        (["train.ema=0.9..0.5"], "the first end must be below the second"),
        (["train.mixup=0..1(log)"], "both ends must be above 0"),
        (["train.ema=0..0.9", "train.ema=0.1,0.2"], "train.ema twice"),
    ],
)
def test_what_is_no_axis_is_refused(texts, message):
    with pytest.raises(InputError) as caught:
        read_axes(texts)
    assert message in str(caught.value)


def test_values_go_where_their_keys_are_and_must_fit():
    spec = StudentSpec(name="student", train={"epochs": 3})
    changed = with_values(spec, {"train.learning_rate": 0.01, "loss.temperature": 4.0})
    assert (changed.train.epochs, changed.train.learning_rate, changed.loss.temperature) == (3, 0.01, 4.0)
    with pytest.raises(InputError, match=r"(?s)student 'student' with train.ema = 1\.5.*less than 1"):
        check_axes(spec, [Axis("train.ema", 0.5, 1.5)])


def run(folder, *arguments):
    recipe = folder / "tiny.toml"
    recipe.write_text(RECIPE)
    asked = [
        "sweep",
        str(recipe),
        "--out",
        str(folder / "work"),
        "--cache",
        str(folder / "cache"),
        "--accelerator",
        "cpu",
    ]
    return CliRunner().invoke(app, [*asked, *arguments])


@pytest.mark.slow
def test_a_sweep_goes_on_leaves_test_images_alone_and_writes_its_results(tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    from dermdistill.training.task import ClassifierTask

    arguments = ("--set", "train.learning_rate=1e-4..1e-2(log)", "--set", "train.optimizer=adamw,sgd",
                 "--storage", f"sqlite:///{tmp_path}/sweep.db")  # fmt: skip
    score, calls = ClassifierTask.score, []

    def stopped(self, model, device):
        calls.append(self)
        if len(calls) == 4:  # at the end of the second trial
            raise KeyboardInterrupt
        return score(self, model, device)

    monkeypatch.setattr(ClassifierTask, "score", stopped)
    assert run(tmp_path, *arguments, "--trials", "3").exit_code != 0
    monkeypatch.setattr(ClassifierTask, "score", score)
    folder = tmp_path / "work" / "sweep"
    half = [path for path in (folder / "trials").iterdir() if not (path / "predictions.parquet").exists()]
    assert len(half) == 1
    done = run(tmp_path, *arguments, "--trials", "3")
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader((folder / "trials.csv").open()))
    assert [row["state"] for row in rows] == ["complete"] * 3
    assert half[0].name in {row["folder"] for row in rows}, "the stopped trial did not go on"
    assert len({row["folder"] for row in rows}) == 3
    found = json.loads((folder / "sweep.json").read_text())
    best = max(rows, key=lambda row: float(row["validation_auroc"]))
    assert found["best"]["validation_auroc"] == pytest.approx(float(best["validation_auroc"]), abs=1e-6)
    assert found["best"]["set"]["train.learning_rate"] == float(best["train.learning_rate"])
    for name in ("history", "epochs", "slices"):
        assert (folder / f"{name}.png").stat().st_size > 1000

    import pandas as pd

    for row in rows:
        trial = folder / "trials" / row["folder"]
        assert set(pd.read_parquet(trial / "predictions.parquet")["role"]) == {"validation"}
        assert json.loads((trial / "run.json").read_text())["roles"]["test"] == 0
    again = run(tmp_path, *arguments, "--trials", "3")
    assert "trial 3" not in again.output
    other = run(tmp_path, "--set", "train.ema=0.5..0.9", *arguments[-2:], "--trials", "1")
    assert "has other keys, ranges, images or soft labels" in str(other.exception)


def test_a_trial_below_the_median_ends_early():
    optuna = pytest.importorskip("optuna")
    from dermdistill.recipe.sweep import STARTUP, Reporter

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP))
    reporter = Reporter()
    for auroc in (0.6, 0.7, 0.8, 0.9):
        reporter.trial = study.ask()
        reporter.log_metrics({"loss/x": 1.0, "auroc/x": auroc}, 0)
        study.tell(reporter.trial, auroc)
    reporter.trial = study.ask()
    reporter.log_metrics({"auroc/x": 0.76}, 0)
    reporter.trial = study.ask()
    with pytest.raises(optuna.TrialPruned):
        reporter.log_metrics({"auroc/x": 0.74}, 0)


def test_a_sweep_after_teachers_needs_them(tmp_path):
    pytest.importorskip("optuna")
    recipe = tmp_path / "tiny.toml"
    text = RECIPE.replace('labels = "none"\n', "").replace('loss = { kind = "ce" }\n', "")
    recipe.write_text(text + '[[teachers]]\nname = "teacher"\nmodel = "repds"\nweights = "none"\nimage_size = 32\n')
    asked = ["sweep", str(recipe), "--set", "loss.alpha=0.1,0.5", "--out", str(tmp_path / "work")]
    done = CliRunner().invoke(app, [*asked, "--accelerator", "cpu"])
    assert "to do: teach teacher, soften." in str(done.exception)
