"""`dermdistill.publish.paper_results`: what it writes of a study that is not finished, and what it refuses."""

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch

from dermdistill.errors import InputError
from dermdistill.khan2022.grid import mean_sd
from dermdistill.khan2022.recipe import named_rows, settings_of
from dermdistill.khan2022.report import write_report
from dermdistill.khan2022.study import Study, run_row
from dermdistill.khan2022.tables import differences
from dermdistill.khan2022.timing import measure_timing
from dermdistill.publish.paper_findings import findings
from dermdistill.training.loop import make_fabric

RECIPE = """name = "tiny"
image_size = 24
weights = "none"
teacher = "dsnet"
students = ["dsnet"]
teaching = { optimizer = "adam", learning_rate = 1e-3, epochs = 1, batch_size = 32 }
student = { optimizer = "adadelta", learning_rate = 1.0, epochs = 1, batch_size = 32 }
seeds = { ablation = 2 }
timing = { images = 8, batch_size = 4, repeats = 1 }
"""
PAGE = "# A page\n\n<!-- results:khan2022 -->\nnothing yet\n<!-- /results -->\n\nThe end.\n"
FRONT = "# dermdistill\n\n<!-- results:khan2022 -->\n<!-- /results -->\n"
DONE = (("corrected", 0), ("corrected", 1), ("no-distillation", 0), ("no-distillation", 1), ("softmax-twice", 0),
        ("temperature-3", 0))  # fmt: skip


@pytest.fixture
def script():
    from dermdistill.publish import paper_results

    return paper_results


def pool_of():
    """The 120 images of conftest.py, whose fixtures live for one test only."""
    spec = importlib.util.spec_from_file_location("paper_conftest", Path(__file__).with_name("conftest.py"))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pool_of()


@pytest.fixture(scope="module")
def trained_rows(tmp_path_factory):
    """Five of the ablation's trainings and one temperature's, with the log and the report; see `study`."""
    folder = tmp_path_factory.mktemp("paper")
    (folder / "tiny.toml").write_text(RECIPE)
    (folder / "page.md").write_text(PAGE)
    (folder / "front.md").write_text(FRONT)
    (folder / "study").mkdir()
    torch.set_num_threads(1)
    pool = dataclasses.replace(pool_of(), notes=("A sample of 120 images.",))
    settings = settings_of("full", folder / "tiny.toml")
    study = Study(settings, pool, folder / "study", make_fabric("cpu"), lambda line: None)
    for name, seed in DONE:
        (row,) = named_rows([name], ["temperature", "ablation"], study.settings, "corrected")
        run_row(study, row, seed)
    (study.folder / "log.txt").write_text("what happened\n")
    write_report(study, html=False)
    return study


@pytest.fixture
def study(trained_rows, tmp_path):
    """A copy of the study, with recipe and pages beside it."""
    shutil.copytree(trained_rows.folder.parent, tmp_path, dirs_exist_ok=True)
    return dataclasses.replace(trained_rows, folder=tmp_path / "study")


def _call(script, folder, *more):
    script.main([
        str(folder / "study"), "--recipe", str(folder / "tiny.toml"), "--out", str(folder / "results"),
        "--page", str(folder / "page.md"), "--readme", str(folder / "front.md"), *map(str, more),
    ])  # fmt: skip


def _line(text, name):
    return next([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()
                if line.startswith(f"| {name} |"))  # fmt: skip


def test_an_unfinished_study_is_published_with_what_is_to_do(script, study, tmp_path, capsys):
    before = {path: path.read_bytes() for path in study.folder.rglob("*") if path.is_file()}
    measure_timing(
        study.pool, {"dsnet": ("dsnet", 24)}, 24, study.settings.timing, study.fabric.device, tmp_path / "timing.json"
    )
    _call(script, tmp_path, "--timing", tmp_path)
    assert {path: path.read_bytes() for path in study.folder.rglob("*") if path.is_file()} == before
    out = tmp_path / "results"
    assert {path.name for path in out.iterdir()} == {
        "README.md", "report.md", "report.html", "report.json", "recipe.toml", "log.txt", "temperature.svg",
    }  # fmt: skip
    assert (out / "recipe.toml").read_text() == RECIPE
    page, readme = (tmp_path / "page.md").read_text(), (out / "README.md").read_text()
    assert page.startswith("# A page\n\n<!-- results:khan2022 -->\n")
    assert page.endswith("<!-- /results -->\n\nThe end.\n")
    assert "nothing yet" not in page
    assert "(results/README.md)" in page
    for text in (page, readme):
        to_do = " ".join(text.split("To do:")[1].split("\n\n")[0].split())
        assert "Table 2, as-published: all rows; Temperatures, as-published: all rows; Temperatures, " in to_do
        assert "softmax-twice (1 more seed), no-t2, " in to_do
        assert "larger-step, as-published." in to_do
        assert "Ablation: random-split, " in to_do, "corrected is done"
        assert "Batch sizes" not in text, "of these only the row of Table 2 is done"
        assert "Initial weights: from scratch, as in the paper: DSNet." in " ".join(text.split())
        assert "## Prediction times" in text
        assert "## Table 2" in text
        assert f"![Temperatures: both protocols]({'' if text is readme else 'results/'}temperature.svg)" in text
        assert "- **The random split**" not in text, "nobody measured it"
    assert "softmax-twice (1 more seed)" in capsys.readouterr().out
    command = "dermdistill reproduce khan2022 --recipe tiny.toml --data MANIFEST"
    assert f"{command} --table 2 --table temperature --table ablation\n" in readme
    assert f"{command} --clock-only\n" in readme
    front = (tmp_path / "front.md").read_text()
    assert "[the paper](docs/explanation/the-paper-audited.md) that this project starts from" in front
    assert front.endswith("<!-- /results -->\n")
    assert study.pool.sha256 in readme
    report = json.loads((out / "report.json").read_text())
    assert report["timing"]["systems"]["dsnet"]["forward_ratio"] == 1


def test_the_table_holds_mean_spread_and_paired_differences(script, study, tmp_path):
    _call(script, tmp_path)
    page = (tmp_path / "page.md").read_text()
    report = json.loads((tmp_path / "results" / "report.json").read_text())
    of = {entry["name"]: entry for entry in report["tables"]["ablation"]}
    values = {
        (name, key): [result["test"][key] if key == "ece" else result["test"][key]["value"] for result in seeds]
        for name in ("corrected", "no-distillation") for key in ("accuracy", "auroc", "ece")
        for seeds in [of[name]["seeds"]]
    }  # fmt: skip
    line = _line(page, "no-distillation")
    for column, key in ((5, "accuracy"), (7, "auroc"), (9, "ece")):
        one, other = values["no-distillation", key], values["corrected", key]
        assert line[column] == mean_sd(of["no-distillation"]["summary"][key])
        gaps = [a - b for a, b in zip(one, other, strict=True)]
        assert line[column + 1].startswith(f"{sum(gaps) / 2:+.3f} ± ")
        assert line[column + 1].endswith("(2)")
    assert line[1] == "no soft term"
    twice = _line(page, "softmax-twice")
    assert twice[1] == "1.000000"
    low, high = map(float, twice[2].split(" to "))
    assert 0.268 < low <= high < 0.732
    assert _line((tmp_path / "results" / "README.md").read_text().split("seed by seed")[1], "softmax-twice")[2] == "–"
    assert "| as-published |" not in page.split("### Ablation")[1], "not run"
    first = {name: f"{values[name, 'accuracy'][0]:.3f}" for name in ("corrected", "no-distillation")}
    for row, name in (("dsnet-distilled", "corrected"), ("dsnet-alone", "no-distillation")):
        cells = _line(page, row)
        assert cells[2] == "268,898"
        assert cells[8:11] == ["0.917", "–", first[name]], "Table 2 has one seed"


def test_sentences_hold_the_numbers_of_the_report(script, study, tmp_path):
    report = script.read_report(study.folder)
    told = {text.split("**")[1].rstrip("."): text for text in findings(report)}
    entries = {entry["name"]: entry for entry in report["tables"]["2"] if entry["protocol"] == "corrected"}
    gap = (entries["dsnet-distilled"]["seeds"][0]["test"]["auroc"]["value"]
           - entries["dsnet-alone"]["seeds"][0]["test"]["auroc"]["value"])  # fmt: skip
    assert f"in AUROC: DSNet {gap:+.3f}." in told["Distillation"]
    paired = differences(report["tables"]["ablation"], "auroc")["no-distillation"]
    sure = abs(paired["mean"]) > 2 * paired["sd"] / 2**0.5
    of_faults = told["What one fault does to DSNet's AUROC"]
    assert (f"`no-distillation` {mean_sd(paired, signed=True)}" in of_faults) == sure
    assert ("Not beyond them: `no-distillation`." in of_faults) == (not sure)
    assert "The softmax over the whole array turns distillation off" not in told, "that row is not done"
    rows = [entry["summary"]["accuracy"]["mean"] for entry in report["tables"]["temperature"] if entry["seeds"]]
    assert f"from {min(rows):.3f} to {max(rows):.3f} here corrected (2 of 8 rows)" in told["Temperatures"]
    assert "from 0.772 to 0.917 in the paper" in told["Temperatures"]
    seeds = [
        {"seed": 0, "random": {"auroc": 0.9, "auroc_seen": 0.95, "auroc_unseen": 0.8, "melanomas_seen": 30,
                               "melanomas_unseen": 10},
         "lesion": {"auroc": 0.85, "auroc_several": 0.87, "auroc_single": 0.82}},
    ]  # fmt: skip
    (leak,) = [text for text in findings(report | {"leak": {"seeds": seeds}}) if "random split" in text]
    assert "for 75 % of the test melanomas. To DSNet that is worth +0.100 AUROC on these, +0.050 on all" in leak


def test_what_does_not_fit_is_refused_and_nothing_is_written(script, study, tmp_path, monkeypatch):
    (tmp_path / "tiny.toml").write_text(RECIPE.replace("image_size = 24", "image_size = 26"))
    with pytest.raises(InputError, match=r"was not run with .*image_size: 24, not 26"):
        _call(script, tmp_path)
    (tmp_path / "tiny.toml").write_text(RECIPE)
    monkeypatch.setattr(script, "LARGEST", 1000)
    with pytest.raises(InputError, match=r"report\.json \([\d,]+ bytes\).*at most 1,000 bytes"):
        _call(script, tmp_path)
    (study.folder / "report.json").unlink()
    with pytest.raises(InputError, match=r"has no report\.json"):
        _call(script, tmp_path)
    assert (tmp_path / "page.md").read_text() == PAGE
    assert not (tmp_path / "results").exists()
