"""A teacher that is run elsewhere: its views are rendered, its logits come back as a table, a student learns them."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import dermdistill
from dermdistill.classes import CLASSES
from dermdistill.cli import app
from dermdistill.distillation.bank import Bank
from dermdistill.distillation.distill import load_student
from dermdistill.errors import InputError
from dermdistill.evaluate.document import load_report
from dermdistill.recipe.run import intended, run_recipe
from dermdistill.recipe.spec import load_recipe
from dermdistill.recipe.work import Work
from dermdistill.run import Run
from dermdistill.training.loop import make_fabric

NAMES = ("nevus", *(name for name in CLASSES if name not in ("nv", "mel")), "melanoma", "lentigo")
FOLD = '{ nevus = "nv", melanoma = "mel", lentigo = "bkl" }'
SIZE = 40


def recipe_text(more="", soften="views = 2", logits=None):
    logits = logits or f'{{ file = "logits.parquet", fold = {FOLD}, licences = ["CC0-1.0"] }}'
    return f"""
name = "foreign"
[data]
synthetic = {{ images = 60, size = 48 }}
[split]
folds = 3
[[teachers]]
name = "elsewhere"
logits = {logits}
[soften]
{soften}
[[students]]
name = "taught"
model = "repds"
weights = "none"
image_size = 32
loss = {{ kind = "kd", alpha = 0 }}
train = {{ epochs = 1, batch_size = 16 }}
[evaluate]
replicates = 100
{more}"""


class Elsewhere(torch.nn.Module):
    """Stands for a model of another toolkit: its own classes, size, normalisation and way to answer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.dense = torch.nn.Linear(3 * 16, len(NAMES))

    def forward(self, pixels):
        assert pixels.shape[1:] == (3, SIZE, SIZE)
        assert 0 <= pixels.min() <= pixels.max() <= 1
        means = torch.nn.functional.adaptive_avg_pool2d((pixels - 0.5) / 0.25, 4).flatten(1)
        return SimpleNamespace(logits=4 * self.dense(means))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """The folder of a recipe whose table was made by a callable, and the callable."""
    folder, teacher = tmp_path_factory.mktemp("foreign"), Elsewhere()
    (folder / "recipe.toml").write_text(recipe_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DERMDISTILL_CACHE", str(folder / "cache"))
        count = dermdistill.label_views("recipe.toml", teacher, NAMES, SIZE, "logits.parquet", tell=lambda line: None)
        yield SimpleNamespace(folder=folder, teacher=teacher, count=count)


def test_a_callable_labels_every_view_and_a_student_learns_from_it(labelled):
    table = pd.read_parquet(labelled.folder / "logits.parquet")
    assert len(table) == labelled.count == 60 + 20  # 20 images of one of three folds train, with two views each
    told = []
    work, fabric = Work(load_recipe("recipe.toml"), labelled.folder / "work" / "foreign"), make_fabric("cpu")
    run_recipe(work, fabric, told.append, only=_but_export)
    assert any("a table of logits of 7 classes" in line for line in told)

    bank = Bank.open(work.bank)
    assert [(one.name, one.model, one.licences) for one in bank.teachers] == [("elsewhere", "table", ("CC0-1.0",))]
    for part in dermdistill.render_views("recipe.toml", SIZE, batch_size=7):
        rows = [bank.images.index(sha256) for sha256 in part.sha256s if sha256 in bank.images]
        if len(rows) < len(part.sha256s):
            continue  # images of validation and test
        given = labelled.teacher(part.pixels).logits.softmax(1).detach()
        mapped = {name: given[:, NAMES.index(name)] for name in CLASSES if name in NAMES}
        mapped |= {"nv": given[:, 0], "mel": given[:, NAMES.index("melanoma")]}
        mapped["bkl"] = mapped["bkl"] + given[:, NAMES.index("lentigo")]
        expected = torch.stack([mapped[name] for name in CLASSES], 1)
        found = torch.from_numpy(bank.logits(part.view)[rows, 0]).softmax(1)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)

    report = load_report(work.report / "report.json")
    assert report.models["elsewhere"].parameters is None
    assert report.models["elsewhere"].metrics["auroc"].value is not None
    (taught,) = load_student(work.student("taught"))[1].taught_by
    assert (taught.name, taught.model, taught.image_size, taught.licences) == ("elsewhere", "table", None, ("CC0-1.0",))

    with pytest.raises(InputError, match="is a table of logits and no network"):
        Run(work.teacher("elsewhere")).trained()
    assert {state.standing for stage, state in intended(work) if _but_export(stage)} == {"done"}

    table.assign(logit_bcc=table["logit_bcc"] + 1).to_parquet("logits.parquet")  # another teacher
    after = {stage.name: state for stage, state in intended(work)}
    assert after["teach elsewhere"].standing == "differs"
    assert "inputs.weights" in str(after["teach elsewhere"].changes[0])
    table.to_parquet("logits.parquet")


def _but_export(stage):
    return stage.kind != "export"


@pytest.mark.parametrize(("change", "told"), [
    ({"more": '[export]\nteachers = ["elsewhere"]'}, "are tables of logits and no networks"),
    ({"soften": "views = 2\nturns = 2"}, "soften.turns must be 1, got 2"),
    ({"logits": '{ file = "x.parquet" }\nimage_size = 224'}, "a teacher with logits is no network: leave out image_si"),
])  # fmt: skip
def test_recipes_that_a_table_cannot_serve_are_refused(tmp_path, change, told):
    (tmp_path / "recipe.toml").write_text(recipe_text(**change))
    with pytest.raises(InputError, match=told):
        load_recipe(tmp_path / "recipe.toml")


def test_a_student_cannot_have_a_table_in_the_loop(tmp_path):
    (tmp_path / "recipe.toml").write_text(
        recipe_text().replace('model = "repds"', 'model = "repds"\nlabels = "online"')
    )
    with pytest.raises(InputError, match="'taught' has labels = 'online', but"):
        load_recipe(tmp_path / "recipe.toml")


def test_a_table_that_is_not_there_is_told_before_anything_is_made(tmp_path):
    (tmp_path / "recipe.toml").write_text(recipe_text(logits='{ file = "nowhere.parquet" }'))
    with pytest.raises(InputError, match=r"no table of logits at nowhere\.parquet; `dermdistill views` writes"):
        dermdistill.run_recipe(tmp_path / "recipe.toml", tmp_path / "work", accelerator="cpu", tell=lambda line: None)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(("teacher", "told"), [
    (lambda pixels: pixels.mean((2, 3)), r"must give logits of shape \(20, 8\).*got \(20, 3\)"),
    (lambda pixels: np.full((len(pixels), 8), np.nan), "logits that are not finite"),
])  # fmt: skip
def test_answers_that_are_no_logits_are_refused(labelled, teacher, told):
    with pytest.raises(InputError, match=told):
        dermdistill.label_views("recipe.toml", teacher, NAMES, SIZE, "no.parquet", tell=lambda line: None)


KILLED = """
import os, signal
import dermdistill
from dermdistill.recipe import foreign
from test_foreign import NAMES, SIZE, Elsewhere

foreign.PART_SECONDS, teacher, asked = 0, Elsewhere(), []


def ask(pixels):
    asked.append(len(pixels))
    if len(asked) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return teacher(pixels)


dermdistill.label_views("recipe.toml", ask, NAMES, SIZE, "resumed.parquet", batch_size=8, tell=lambda line: None)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_labelling_that_was_killed_goes_on_and_gives_the_same_bytes(labelled):
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", KILLED]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    parts = labelled.folder / "resumed.parquet.parts"
    assert len(list(parts.glob("*.parquet"))) == 5
    assert not (labelled.folder / "resumed.parquet").exists()

    asked = []

    def label(to, teacher=labelled.teacher, size=SIZE):
        def ask(pixels):
            asked.append(len(pixels))
            return teacher(pixels)

        return dermdistill.label_views("recipe.toml", ask, NAMES, size, to, batch_size=8, tell=lambda line: None)

    with pytest.raises(InputError, match=r"holds the logits of another teacher: .* differ by up to [\d.]+; delete it"):
        label("resumed.parquet", lambda pixels: labelled.teacher(pixels).logits + 1)
    with pytest.raises(InputError, match=f"holds the work of another call .size is {SIZE}, not {SIZE + 1}.; delete it"):
        label("resumed.parquet", size=SIZE + 1)
    asked.clear()
    assert label("resumed.parquet") == labelled.count
    assert sum(asked) == labelled.count - 5 * 8 + 8 + 4, "the first batch again, and those that were not labelled yet"
    assert not parts.exists()
    label("whole.parquet")
    resumed, whole = ((labelled.folder / name).read_bytes() for name in ("resumed.parquet", "whole.parquet"))
    assert resumed == whole


def test_labelling_draws_a_bar_from_where_it_goes_on(labelled, monkeypatch):
    from dermdistill.recipe import foreign

    drawn = []

    class Bars:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def add_task(self, description, total):
            drawn.append((description, total))

        def advance(self, bar, count):
            drawn.append(count)

    monkeypatch.setattr(foreign, "PART_SECONDS", 0)
    answers = iter([True] * 3)

    def stops(pixels):
        next(answers)  # StopIteration stands for whatever may go wrong
        return labelled.teacher(pixels)

    with pytest.raises(StopIteration):
        dermdistill.label_views("recipe.toml", stops, NAMES, SIZE, "bar.parquet", batch_size=8, tell=lambda line: None)
    monkeypatch.setattr(foreign.talk, "bars", Bars)
    dermdistill.label_views(
        "recipe.toml", labelled.teacher, NAMES, SIZE, "bar.parquet", batch_size=8, tell=lambda line: None
    )
    assert drawn[:2] == [("label views", labelled.count), 20]  # 8, 8 and 4 images of the first view
    assert sum(drawn[1:]) == labelled.count


def test_views_are_written_as_pictures_that_another_program_can_read(labelled):
    done = CliRunner().invoke(app, ["views", "recipe.toml", "--to", "pictures", "--size", str(SIZE)])
    assert done.exit_code == 0, done.output
    index = pd.read_csv("pictures/views.csv")
    table = pd.read_parquet("logits.parquet")
    keys = ["image_id", "sha256", "view", "views_id"]
    assert index[keys].values.tolist() == table[keys].values.tolist()
    rows = {(row.sha256, row.view): row.file for row in index.itertuples()}
    for part in dermdistill.render_views("recipe.toml", SIZE, batch_size=50):
        for sha256, pixels in zip(part.sha256s, part.pixels, strict=True):
            picture = np.asarray(Image.open(f"pictures/{rows[sha256, part.view]}"))
            assert np.abs(picture / 255 - pixels.permute(1, 2, 0).numpy()).max() <= 0.5001 / 255

    last = [f"pictures/{file}" for file in index["file"].tail(3)]  # as if it had been stopped before these
    for name in (*last, "pictures/views.csv"):
        Path(name).unlink()
    first = Path(f"pictures/{index['file'][0]}").stat()
    done = CliRunner().invoke(app, ["views", "recipe.toml", "--to", "pictures", "--size", str(SIZE)])
    assert done.exit_code == 0, done.output
    pd.testing.assert_frame_equal(pd.read_csv("pictures/views.csv"), index)
    assert all(Path(name).exists() for name in last)
    again = Path(f"pictures/{index['file'][0]}").stat()
    assert (again.st_ino, again.st_mtime_ns) == (first.st_ino, first.st_mtime_ns), "a finished picture is drawn again"
    with pytest.raises(InputError, match=r"size is 40, not 41.*delete it to begin anew, or call as before"):
        CliRunner().invoke(app, ["views", "recipe.toml", "--to", "pictures", "--size", "41"], catch_exceptions=False)
