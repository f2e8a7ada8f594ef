"""`dermdistill.publish.paper_results`: what it writes of a study that is not finished, and what it refuses."""

import json

import pytest

from dermdistill.errors import InputError
from dermdistill.khan2022.markdown import mean_sd
from dermdistill.khan2022.recipe import named_rows, settings_of
from dermdistill.khan2022.report import write_report
from dermdistill.khan2022.study import Study, run_row
from dermdistill.khan2022.timing import measure_timing

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
DONE = (("corrected", 0), ("corrected", 1), ("no-distillation", 0), ("no-distillation", 1), ("softmax-twice", 0))


@pytest.fixture
def script():
    from dermdistill.publish import paper_results

    return paper_results


@pytest.fixture
def study(tmp_path, make_pool, fabric):
    """Five of the ablation's trainings, with the log and the report."""
    (tmp_path / "tiny.toml").write_text(RECIPE)
    (tmp_path / "page.md").write_text(PAGE)
    (tmp_path / "study").mkdir()
    pool = make_pool()
    object.__setattr__(pool, "notes", ("A sample of 120 images.",))
    study = Study(settings_of("full", tmp_path / "tiny.toml"), pool, tmp_path / "study", fabric, lambda line: None)
    for name, seed in DONE:
        (row,) = named_rows([name], ["ablation"], study.settings, "corrected")
        run_row(study, row, seed)
    (study.folder / "log.txt").write_text("what happened\n")
    write_report(study, html=False)
    return study


def _call(script, folder, *more):
    script.main([
        str(folder / "study"), "--recipe", str(folder / "tiny.toml"), "--out", str(folder / "results"),
        "--page", str(folder / "page.md"), *map(str, more),
    ])  # fmt: skip


def _line(text, name):
    return next([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()
                if line.startswith(f"| {name} |"))  # fmt: skip


def test_an_unfinished_study_is_published_with_what_is_to_do(script, study, tmp_path, capsys):
    before = {path: path.read_bytes() for path in study.folder.rglob("*") if path.is_file()}
    measure_timing(study.pool, ["dsnet"], 24, study.settings.timing, study.fabric.device, tmp_path / "timing.json")
    _call(script, tmp_path, "--timing", tmp_path)
    assert {path: path.read_bytes() for path in study.folder.rglob("*") if path.is_file()} == before
    out = tmp_path / "results"
    assert {path.name for path in out.iterdir()} == {
        "README.md", "report.md", "report.html", "report.json", "recipe.toml", "log.txt",
    }  # fmt: skip
    assert (out / "recipe.toml").read_text() == RECIPE
    page, readme = (tmp_path / "page.md").read_text(), (out / "README.md").read_text()
    assert page.startswith("# A page\n\n<!-- results:khan2022 -->\n")
    assert page.endswith("<!-- /results -->\n\nThe end.\n")
    assert "nothing yet" not in page
    assert "(results/README.md)" in page
    for text in (page, readme):
        assert "softmax-twice (1 seed)" in " ".join(text.split())
        assert "as-published (2 seeds)" in " ".join(text.split())
        assert "corrected (" not in text.split("To do:")[1].split("\n\n")[0]
        assert "DSNet: from scratch, as in the paper" in text
        assert "for want of hub weights, where the paper has ImageNet weights: none" in " ".join(text.split())
        assert "## Prediction times" in text
    assert "softmax-twice (1 seed)" in capsys.readouterr().out
    assert "dermdistill reproduce khan2022 --recipe tiny.toml --table ablation --data MANIFEST" in readme
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
    assert _line((tmp_path / "results" / "README.md").read_text().split("Seed by seed")[1], "softmax-twice")[2] == "–"
    assert _line(page, "as-published")[5] == "–"
    beside = _line(page, "DSNet")
    assert beside[1] == beside[2] == "268,898"
    first = {name: f"{values[name, 'accuracy'][0]:.3f}" for name in ("corrected", "no-distillation")}
    assert beside[5:] == ["0.917", "–", first["corrected"], "–", first["no-distillation"]], "Table 2 has one seed"


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
