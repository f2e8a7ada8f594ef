"""`dermdistill status` tells how far each stage has come, for people and for machines."""

import json
import os
import re
import shutil
import time

import pytest
from typer.testing import CliRunner

from dermdistill.cli import app
from dermdistill.cli.train import duration
from dermdistill.files import read_json, write_json, write_text
from dermdistill.recipe.progress import FRESH, look
from dermdistill.recipe.run import intended, of_kind
from dermdistill.recipe.spec import load_recipe
from dermdistill.recipe.work import Work

RECIPE = """
name = "r"
[data]
synthetic = {}
[split]
folds = 3
scheme = "cross"
[[teachers]]
name = "t"
model = "repds"
weights = "none"
drop_path_rate = 0
train = { epochs = 4 }
[soften]
views = 2
[[students]]
name = "s"
"""


@pytest.fixture
def work(tmp_path):
    """A work folder with its recipe, in which nothing is done yet."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "recipe.toml").write_text(RECIPE)
    return Work(load_recipe(folder / "recipe.toml"), folder)


def _begin(work, part: str, epochs: int, seconds: float, ago: float = 0) -> None:
    """Make a finished teacher look like one in training, of which so many epochs are done."""
    folder = work.of(part).teacher("t")
    header = read_json(folder / "run.json")
    write_json(folder / "run.json", {**header, "status": "running"})
    lines = [json.dumps({"epoch": epoch, "seconds": seconds * (epoch + 1) / epochs}) for epoch in range(epochs)]
    write_text(folder / "metrics.jsonl", "".join(f"{line}\n" for line in lines))
    then = time.time() - ago
    for path in folder.iterdir():
        os.utime(path, (then, then))


def _found(work) -> dict:
    return {one.stage.name: one for one in look(work, intended(work))}


def test_nothing_has_begun(work):
    assert {one.standing for one in _found(work).values()} == {"to do"}
    assert all(one.seconds is one.seconds_left is one.steps is None for one in _found(work).values())


def test_a_training_tells_its_epochs_and_what_is_left(work, fake):
    fake.run(work, only=of_kind("teach"))
    header = read_json(work.of("fold-0").teacher("t") / "run.json")
    write_json(work.of("fold-0").teacher("t") / "run.json", {**header, "training_seconds": 700.0})
    _begin(work, "fold-1", 1, 200.0)
    _begin(work, "fold-2", 3, 600.0, ago=2 * FRESH)
    found = _found(work)
    done, running, begun = (found[f"teach t (fold-{number})"] for number in range(3))
    assert (done.standing, done.seconds) == ("done", 700.0)
    assert (running.standing, running.steps, running.unit) == ("running", (1, 4), "epochs")
    assert (running.seconds, running.seconds_left) == (200.0, 600.0)
    assert (begun.standing, begun.steps, begun.seconds_left) == ("begun", (3, 4), 200.0)


def test_what_has_not_begun_takes_as_long_as_its_like(work, fake):
    fake.run(work, only=of_kind("teach"))
    shutil.rmtree(work.of("fold-2").teacher("t"))
    later = _found(work)["teach t (fold-2)"]
    assert (later.standing, later.seconds_left) == ("to do", 1.0)
    assert _found(work)["distill s (fold-0)"].seconds_left is None


def test_a_bank_tells_its_views(work, fake):
    fake.run(work, only=lambda stage: stage.kind in ("teach", "soften"))
    path = next(work.of("fold-1").bank.glob("*/teacher.json"))
    header = read_json(path)
    write_json(path, {**header, "checksums": header["checksums"][:1]})
    found = _found(work)
    assert found["soften (fold-0)"].standing == "done"
    one = found["soften (fold-1)"]
    assert (one.standing, one.steps, one.unit) == ("running", (1, 2), "views")
    os.utime(path, (0, 0))
    assert _found(work)["soften (fold-1)"].standing == "begun"


def test_the_command_shows_it(work, fake):
    fake.run(work, only=of_kind("teach"))
    _begin(work, "fold-1", 1, 7200.0)
    shown = CliRunner().invoke(app, ["status", str(work.folder)], env={"COLUMNS": "150"})
    assert shown.exit_code == 0, shown.output
    assert re.search(r"teach t \(fold-1\) +running +1/4 epochs +2 h 0 min +6 h 0 min", shown.output)
    total = len(intended(work))
    assert f"4 of {total} stages done; trained for 2 h 0 min; at least 6 h 0 min of training left" in shown.output
    told = json.loads(CliRunner().invoke(app, ["status", str(work.folder), "--json"]).stdout)
    (stage,) = [one for one in told["stages"] if one["name"] == "teach t (fold-1)"]
    assert stage == {
        "name": "teach t (fold-1)", "kind": "teach", "standing": "running", "changes": [], "steps_done": 1, "steps": 4,
        "unit": "epochs", "seconds": 7200.0, "seconds_left": 21600.0,
    }  # fmt: skip


def test_a_folder_that_is_not_there_is_told_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work" / "release").mkdir(parents=True)
    run = CliRunner().invoke(app, ["status", "work/relese"])
    assert str(run.exception) == "no such work folder or recipe: work/relese; did you mean 'work/release'?"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (4.4, "4 s"), (59, "59 s"), (60, "1 min"), (3599, "1 h 0 min"), (12000, "3 h 20 min")],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words
