"""A finished run is published without tensors, and the public API carries a recipe from images to predictions."""

from pathlib import Path

import pytest

import dermdistill
from dermdistill.errors import InputError
from dermdistill.files import read_json, write_text
from dermdistill.publish import artifacts, results
from dermdistill.publish.repository import find_root, replace_between

ROOT = Path(__file__).parents[2]
RECIPE = """
name = "tiny"
description = "A recipe for a test."
[data]
synthetic = { images = 90, size = 48 }
[split]
folds = 3
[[teachers]]
name = "teacher"
model = "repds"
weights = "none"
image_size = 32
drop_path_rate = 0
train = { epochs = 1, batch_size = 16 }
[soften]
views = 1
[[students]]
name = "student"
model = "repds"
weights = "none"
image_size = 32
train = { epochs = 1, batch_size = 16 }
[evaluate]
replicates = 100
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    (folder / "tiny.toml").write_text(RECIPE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def work(folder):
    lines: list[str] = []
    done = dermdistill.run_recipe(
        folder / "tiny.toml", folder / "work", cache=folder / "cache", accelerator="cpu", tell=lines.append
    )
    (folder / "work" / "log.txt").write_text("\n".join(lines), encoding="utf-8")
    assert any("student" in line for line in lines)
    return done


def test_the_api_goes_from_a_recipe_to_predictions_and_a_report(work, folder):
    predictor = dermdistill.Predictor(work.bundle("student"))
    image = next(path for path in (work.folder / "synthetic").rglob("*") if path.suffix in {".jpg", ".png"})
    (result,) = predictor.predict([image])
    assert result.status == "ok"
    models = {"teacher": work.teacher("teacher"), "student": work.student("student")}
    report = dermdistill.evaluate(work.manifest, models, folder / "report", replicates=100)
    assert set(report.models) == set(models)
    assert (folder / "report" / "report.html").exists()


def test_what_is_published_holds_the_evidence_and_no_tensor(work, folder):
    out = folder / "results" / "tiny"
    write_text(out / "notes.md", "It shows nothing.\n")
    write_text(out / "gone.txt", "of an earlier run")
    results.publish(work, folder / "tiny.toml", out)
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {
        "README.md", "bank.json", "curves.svg", "log.txt", "notes.md", "recipe.toml", "report.html", "report.json",
        "runs/student/metrics.jsonl", "runs/student/run.json", "runs/teacher/metrics.jsonl", "runs/teacher/run.json",
        "splits.json", "table.md",
    }  # fmt: skip
    page = (out / "README.md").read_text(encoding="utf-8")
    assert "## What it shows\n\nIt shows nothing.\n" in page
    assert read_json(out / "report.json")["data"]["manifest_sha256"] in page
    assert (out / "table.md").read_text(encoding="utf-8").strip() in page
    assert "fetch-artifacts" not in page
    made = artifacts.build(
        "tiny", work.folder, folder / "dist", folder / "results" / "artifacts.json", "make artifacts"
    )
    assert [one.name for one in made] == ["tiny-runs", "tiny-bank"]
    assert f"    dermdistill fetch-artifacts {' '.join(sorted(one.name for one in made))} --from URL" in results.page(
        out
    )


def test_runs_that_were_fetched_are_done(work, folder):
    """What the archives hold is enough: a work folder with them trains nothing again."""
    index = folder / "more" / "artifacts.json"
    made = artifacts.build("tiny", work.folder, folder / "more", index, "make artifacts")
    artifacts.fetch(made, str(folder / "more"), folder / "again")
    for place in ("teachers/teacher", "students/student"):
        assert (folder / "again" / "tiny" / place / "model.safetensors").read_bytes() == (
            work.folder / place / "model.safetensors"
        ).read_bytes()
    assert dermdistill.Bank.open(folder / "again" / "tiny" / "bank").views == 1


def test_an_unfinished_run_is_refused(folder):
    with pytest.raises(InputError, match=r"is not finished: data.*`dermdistill run` goes on with it"):
        results.main([str(folder / "tiny.toml"), "--work", str(folder / "nothing"), "--root", str(ROOT)])


def test_the_repository_is_that_of_the_folder_or_the_one_given(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT / "docs" / "reference")
    assert find_root() == ROOT
    monkeypatch.chdir(tmp_path)
    assert find_root(ROOT) == ROOT
    with pytest.raises(InputError, match="is not in a checkout of dermdistill"):
        find_root()
    with pytest.raises(InputError, match="is not in a checkout of dermdistill"):
        find_root(ROOT / "docs")


def test_a_page_without_marks_is_refused(tmp_path):
    (tmp_path / "page.md").write_text("# A page\n")
    with pytest.raises(InputError, match="has no marks <!-- figures -->"):
        replace_between(tmp_path / "page.md", "figures", "text")
